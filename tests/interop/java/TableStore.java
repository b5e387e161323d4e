import com.alicloud.openservices.tablestore.ClientConfiguration;
import com.alicloud.openservices.tablestore.ClientException;
import com.alicloud.openservices.tablestore.SyncClient;
import com.alicloud.openservices.tablestore.TableStoreException;
import com.alicloud.openservices.tablestore.core.ResourceManager;
import com.alicloud.openservices.tablestore.core.auth.*;
import com.alicloud.openservices.tablestore.model.*;
import com.alicloud.openservices.tablestore.model.filter.*;
import com.alicloud.openservices.tablestore.model.tunnel.BulkExportQueryCriteria;
import com.google.gson.*;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/**
 * The Java SDK, as tests/interop/sdk.rs drives it: one call a line on stdin, one answer a line on stdout.
 *
 * <p>FLAVOUR: empty, `compressed` for compressed requests and responses whose MD5 is checked, `v4` to sign with V4.
 */
public final class TableStore {
    /** A call that this SDK does not have. */
    private static final class Unsupported extends Exception {
        Unsupported(String what) {
            super(what);
        }
    }

    private interface Call {
        JsonElement answer(JsonObject asked) throws Exception;
    }

    private static final JsonElement NOTHING = JsonNull.INSTANCE;

    private static SyncClient client;

    private static final Map<String, Call> CALLS = Map.ofEntries(
            Map.entry("create_table", TableStore::createTable),
            Map.entry("list_tables", TableStore::listTables),
            Map.entry("describe_table", TableStore::describeTable),
            Map.entry("update_table", TableStore::updateTable),
            Map.entry("delete_table", TableStore::deleteTable),
            Map.entry("write", TableStore::write),
            Map.entry("get", TableStore::get),
            Map.entry("range", TableStore::range),
            Map.entry("batch_get", TableStore::batchGet),
            Map.entry("batch_write", TableStore::batchWrite),
            Map.entry("bulk_import", TableStore::bulkImport),
            Map.entry("bulk_export", TableStore::bulkExport),
            Map.entry("split_points", TableStore::splitPoints),
            Map.entry("begin", TableStore::begin),
            Map.entry("commit", TableStore::commit),
            Map.entry("abort", TableStore::abort),
            Map.entry("list_streams", Streams::list),
            Map.entry("describe_stream", Streams::describe),
            Map.entry("shard_iterator", Streams::iterator),
            Map.entry("records", Streams::records));

    private TableStore() {}

    public static void main(String[] arguments) throws Exception {
        JsonObject sandbox = JsonParser.parseString(System.getenv("SANDBOX")).getAsJsonObject();
        String id = text(sandbox, "access_key_id");
        String secret = text(sandbox, "access_key_secret");
        String flavour = System.getenv("FLAVOUR");
        ClientConfiguration configuration = new ClientConfiguration();
        configuration.setRetryStrategy(new NoRetryStrategy());
        if (flavour.equals("compressed")) {
            configuration.setEnableRequestCompression(true);
            configuration.setEnableResponseCompression(true);
            configuration.setEnableResponseContentMD5Checking(true);
        }
        ServiceCredentials credentials = new DefaultCredentials(id, secret);
        if (flavour.equals("v4")) {
            credentials = V4Credentials.createByServiceCredentials(credentials, text(sandbox, "region"));
        }
        client = new SyncClient(
                text(sandbox, "ots_endpoint"), new DefaultCredentialProvider(credentials), text(sandbox, "instance"),
                configuration, new ResourceManager(configuration, null));
        Streams.client = client;

        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        PrintStream answers = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        Gson gson = new GsonBuilder().serializeNulls().disableHtmlEscaping().create();
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            JsonObject asked = JsonParser.parseString(line).getAsJsonObject();
            JsonObject answer = new JsonObject();
            try {
                Call call = CALLS.get(text(asked, "do"));
                if (call == null) {
                    throw new Unsupported(text(asked, "do"));
                }
                answer.add("ok", answer(call, asked));
            } catch (TableStoreException error) {
                answer.add("error", error(error.getErrorCode(), error.getMessage()));
            } catch (Unsupported what) {
                answer.add("error", error("unsupported", what.getMessage()));
            }
            answers.println(gson.toJson(answer));
        }
        client.shutdown();
    }

    /**
     * Calls once, and once more if the SDK dropped the call with its connection: its client asks whether a connection
     * is open after it handed the request to it, and by then the exchange may be over. So the call may have been made.
     */
    private static JsonElement answer(Call call, JsonObject asked) throws Exception {
        try {
            return call.answer(asked);
        } catch (ClientException error) {
            if (!wasDroppedWithItsConnection(error)) {
                throw error;
            }
        }
        try {
            return call.answer(asked);
        } catch (TableStoreException error) {
            String name = text(asked, "do");
            boolean wasMade = name.equals("create_table") && error.getErrorCode().equals("OTSObjectAlreadyExist")
                    || name.equals("delete_table") && error.getErrorCode().equals("OTSObjectNotExist");
            if (!wasMade) {
                throw error;
            }
            return NOTHING;
        }
    }

    private static boolean wasDroppedWithItsConnection(Throwable error) {
        for (; error != null; error = error.getCause()) {
            for (StackTraceElement at : error.getStackTrace()) {
                if (at.getMethodName().equals("connectionAllocated")) {
                    return true;
                }
            }
        }
        return false;
    }

    static String text(JsonObject json, String name) {
        return json.get(name).getAsString();
    }

    private static JsonArray error(String code, String text) {
        JsonArray error = new JsonArray();
        error.add(code);
        error.add(text);
        return error;
    }

    private static TableOptions options(JsonObject asked) {
        JsonObject wanted = asked.getAsJsonObject("options");
        TableOptions options = new TableOptions(
                wanted.get("ttl").getAsInt(), wanted.get("versions").getAsInt(), wanted.get("deviation").getAsLong());
        if (wanted.has("allow_update")) {
            options.setAllowUpdate(wanted.get("allow_update").getAsBoolean());
        }
        return options;
    }

    private static JsonElement createTable(JsonObject asked) throws Exception {
        if (asked.has("splits")) {
            throw new Unsupported("splits at creation");
        }
        TableMeta meta = new TableMeta(text(asked, "table"));
        for (JsonElement json : asked.getAsJsonArray("keys")) {
            JsonArray column = json.getAsJsonArray();
            String name = column.get(0).getAsString();
            PrimaryKeyType type = PrimaryKeyType.valueOf(column.get(1).getAsString().toUpperCase());
            if (column.get(2).getAsBoolean()) {
                meta.addPrimaryKeyColumn(name, type, PrimaryKeyOption.AUTO_INCREMENT);
            } else {
                meta.addPrimaryKeyColumn(name, type);
            }
        }
        if (asked.has("defined")) {
            for (JsonElement json : asked.getAsJsonArray("defined")) {
                JsonArray column = json.getAsJsonArray();
                DefinedColumnType type = DefinedColumnType.valueOf(column.get(1).getAsString().toUpperCase());
                meta.addDefinedColumn(column.get(0).getAsString(), type);
            }
        }
        CreateTableRequest request = new CreateTableRequest(
                meta, options(asked), new ReservedThroughput(new CapacityUnit(0, 0)));
        if (asked.has("stream")) {
            request.setStreamSpecification(new StreamSpecification(true, asked.get("stream").getAsInt()));
        }
        if (asked.has("transactions")) {
            request.setLocalTxnEnabled(asked.get("transactions").getAsBoolean());
        }
        client.createTable(request);
        return NOTHING;
    }

    private static JsonElement listTables(JsonObject asked) {
        JsonArray names = new JsonArray();
        client.listTable().getTableNames().stream().sorted().forEach(names::add);
        return names;
    }

    private static JsonElement describeTable(JsonObject asked) {
        DescribeTableResponse found = client.describeTable(new DescribeTableRequest(text(asked, "table")));
        JsonArray keys = new JsonArray();
        for (PrimaryKeySchema column : found.getTableMeta().getPrimaryKeyList()) {
            JsonArray key = new JsonArray();
            key.add(column.getName());
            key.add(column.getType().name().toLowerCase());
            key.add(column.hasOption());
            keys.add(key);
        }
        JsonArray defined = new JsonArray();
        for (DefinedColumnSchema column : found.getTableMeta().getDefinedColumnsList()) {
            JsonArray pair = new JsonArray();
            pair.add(column.getName());
            pair.add(column.getType().name().toLowerCase());
            defined.add(pair);
        }
        JsonObject options = new JsonObject();
        options.addProperty("ttl", found.getTableOptions().getTimeToLive());
        options.addProperty("versions", found.getTableOptions().getMaxVersions());
        options.addProperty("deviation", found.getTableOptions().getMaxTimeDeviation());
        JsonObject described = new JsonObject();
        described.add("keys", keys);
        described.add("defined", defined);
        described.add("options", options);
        return described;
    }

    private static JsonElement updateTable(JsonObject asked) {
        UpdateTableRequest request = new UpdateTableRequest(text(asked, "table"));
        if (asked.has("options")) {
            request.setTableOptionsForUpdate(options(asked));
        }
        if (asked.has("stream")) {
            request.setStreamSpecification(new StreamSpecification(true, asked.get("stream").getAsInt()));
        }
        client.updateTable(request);
        return NOTHING;
    }

    private static JsonElement deleteTable(JsonObject asked) {
        client.deleteTable(new DeleteTableRequest(text(asked, "table")));
        return NOTHING;
    }

    private static RowChange change(String table, JsonObject asked) {
        PrimaryKey key = Values.key(asked.get("key"));
        RowChange change;
        switch (text(asked, "op")) {
            case "put" -> {
                RowPutChange put = new RowPutChange(table, key);
                if (asked.has("cells")) {
                    asked.getAsJsonArray("cells").forEach(cell -> put.addColumn(Values.cell(cell.getAsJsonArray())));
                }
                change = put;
            }
            case "update" -> {
                RowUpdateChange update = new RowUpdateChange(table, key);
                for (JsonElement json : asked.getAsJsonArray("changes")) {
                    JsonArray part = json.getAsJsonArray();
                    String kind = part.remove(0).getAsString();
                    String name = part.get(0).getAsString();
                    switch (kind) {
                        case "put" -> update.put(Values.cell(part));
                        case "delete_version" -> update.deleteColumn(name, part.get(1).getAsLong());
                        case "delete_column" -> update.deleteColumns(name);
                        default -> {
                            long step = Long.parseLong(part.get(1).getAsString());
                            update.increment(new Column(name, ColumnValue.fromLong(step)));
                        }
                    }
                }
                change = update;
            }
            default -> change = new RowDeleteChange(table, key);
        }
        Condition condition = new Condition(switch (asked.has("exists") ? text(asked, "exists") : "ignore") {
            case "exist" -> RowExistenceExpectation.EXPECT_EXIST;
            case "not_exist" -> RowExistenceExpectation.EXPECT_NOT_EXIST;
            default -> RowExistenceExpectation.IGNORE;
        });
        if (asked.has("filter")) {
            ColumnValueFilter filter = Values.columnFilter(asked.getAsJsonObject("filter"));
            condition.setColumnCondition(filter instanceof CompositeColumnValueFilter composite
                    ? composite.toCondition()
                    : ((SingleColumnValueFilter) filter).toCondition());
        }
        change.setCondition(condition);
        if (asked.has("return")) {
            change.setReturnType(text(asked, "return").equals("pk") ? ReturnType.RT_PK : ReturnType.RT_AFTER_MODIFY);
        }
        if (asked.has("return_columns")) {
            asked.getAsJsonArray("return_columns").forEach(name -> change.addReturnColumn(name.getAsString()));
        }
        return change;
    }

    private static <R extends TxnRequest> R inTransaction(R request, JsonObject asked) {
        if (asked.has("transaction")) {
            request.setTransactionId(text(asked, "transaction"));
        }
        return request;
    }

    private static JsonElement write(JsonObject asked) throws Exception {
        RowChange change = change(text(asked, "table"), asked);
        if (change instanceof RowPutChange put) {
            return Values.json(client.putRow(inTransaction(new PutRowRequest(put), asked)).getRow());
        }
        if (change instanceof RowUpdateChange update) {
            return Values.json(client.updateRow(inTransaction(new UpdateRowRequest(update), asked)).getRow());
        }
        RowDeleteChange delete = (RowDeleteChange) change;
        return Values.json(client.deleteRow(inTransaction(new DeleteRowRequest(delete), asked)).getRow());
    }

    private static <C extends RowQueryCriteria> C criteria(C criteria, JsonObject asked) {
        if (asked.has("columns")) {
            asked.getAsJsonArray("columns").forEach(name -> criteria.addColumnsToGet(name.getAsString()));
        }
        if (asked.has("versions")) {
            criteria.setMaxVersions(asked.get("versions").getAsInt());
        }
        if (asked.has("times")) {
            JsonArray times = asked.getAsJsonArray("times");
            criteria.setTimeRange(new TimeRange(times.get(0).getAsLong(), times.get(1).getAsLong()));
        }
        if (asked.has("filter")) {
            criteria.setFilter(Values.filter(asked.getAsJsonObject("filter")));
        }
        if (asked.has("start_column")) {
            criteria.setStartColumn(text(asked, "start_column"));
        }
        if (asked.has("end_column")) {
            criteria.setEndColumn(text(asked, "end_column"));
        }
        return criteria;
    }

    private static JsonElement get(JsonObject asked) throws Exception {
        SingleRowQueryCriteria criteria =
                new SingleRowQueryCriteria(text(asked, "table"), Values.key(asked.get("key")));
        GetRowRequest request = inTransaction(new GetRowRequest(criteria(criteria, asked)), asked);
        return Values.json(client.getRow(request).getRow());
    }

    private static JsonElement range(JsonObject asked) throws Exception {
        RangeRowQueryCriteria criteria = criteria(new RangeRowQueryCriteria(text(asked, "table")), asked);
        criteria.setInclusiveStartPrimaryKey(Values.key(asked.get("from")));
        criteria.setExclusiveEndPrimaryKey(Values.key(asked.get("to")));
        if (asked.has("backward") && asked.get("backward").getAsBoolean()) {
            criteria.setDirection(Direction.BACKWARD);
        }
        if (asked.has("limit")) {
            criteria.setLimit(asked.get("limit").getAsInt());
        }
        GetRangeResponse found = client.getRange(inTransaction(new GetRangeRequest(criteria), asked));
        return page(found.getRows(), found.getNextStartPrimaryKey());
    }

    private static JsonElement page(List<Row> rows, PrimaryKey next) throws Exception {
        JsonObject page = new JsonObject();
        page.add("rows", Values.json(rows));
        page.add("next", Values.json(next));
        return page;
    }

    private static JsonElement batchGet(JsonObject asked) throws Exception {
        BatchGetRowRequest request = new BatchGetRowRequest();
        for (JsonElement json : asked.getAsJsonArray("tables")) {
            JsonObject table = json.getAsJsonObject();
            MultiRowQueryCriteria criteria = criteria(new MultiRowQueryCriteria(text(table, "table")), table);
            table.getAsJsonArray("keys").forEach(key -> criteria.addRow(Values.key(key)));
            request.addMultiRowQueryCriteria(criteria);
        }
        BatchGetRowResponse found = client.batchGetRow(request);
        JsonArray tables = new JsonArray();
        for (JsonElement table : asked.getAsJsonArray("tables")) {
            JsonArray rows = new JsonArray();
            for (var row : found.getBatchGetRowResult(text(table.getAsJsonObject(), "table"))) {
                rows.add(outcome(row.isSucceed(), row.getRow(), row.getError()));
            }
            tables.add(rows);
        }
        return tables;
    }

    private static JsonElement batchWrite(JsonObject asked) throws Exception {
        BatchWriteRowRequest request = inTransaction(new BatchWriteRowRequest(), asked);
        for (JsonElement json : asked.getAsJsonArray("tables")) {
            JsonObject table = json.getAsJsonObject();
            for (JsonElement row : table.getAsJsonArray("rows")) {
                request.addRowChange(change(text(table, "table"), row.getAsJsonObject()));
            }
        }
        if (asked.has("atomic")) {
            request.setAtomic(asked.get("atomic").getAsBoolean());
        }
        BatchWriteRowResponse done = client.batchWriteRow(request);
        JsonArray tables = new JsonArray();
        for (JsonElement table : asked.getAsJsonArray("tables")) {
            JsonArray rows = new JsonArray();
            for (var row : done.getRowStatus(text(table.getAsJsonObject(), "table"))) {
                rows.add(outcome(row.isSucceed(), row.getRow(), row.getError()));
            }
            tables.add(rows);
        }
        return tables;
    }

    private static JsonElement outcome(
            boolean isSucceed, Row row, com.alicloud.openservices.tablestore.model.Error error) throws Exception {
        JsonObject outcome = new JsonObject();
        if (isSucceed) {
            outcome.add("row", Values.json(row));
        } else {
            outcome.add("error", error(error.getCode(), error.getMessage()));
        }
        return outcome;
    }

    private static JsonElement bulkImport(JsonObject asked) throws Exception {
        BulkImportRequest request = new BulkImportRequest(text(asked, "table"));
        for (JsonElement row : asked.getAsJsonArray("rows")) {
            request.addRowChange(change(text(asked, "table"), row.getAsJsonObject()));
        }
        JsonArray rows = new JsonArray();
        for (var row : client.bulkImport(request).getRowResults()) {
            rows.add(outcome(row.isSucceed(), null, row.getError()));
        }
        return rows;
    }

    private static JsonElement bulkExport(JsonObject asked) throws Exception {
        BulkExportQueryCriteria criteria = new BulkExportQueryCriteria(text(asked, "table"));
        criteria.setInclusiveStartPrimaryKey(Values.key(asked.get("from")));
        criteria.setExclusiveEndPrimaryKey(Values.key(asked.get("to")));
        boolean isMatrix = asked.get("matrix").getAsBoolean();
        criteria.setDataBlockType(isMatrix ? DataBlockType.DBT_SIMPLE_ROW_MATRIX : DataBlockType.DBT_PLAIN_BUFFER);
        if (asked.has("columns")) {
            asked.getAsJsonArray("columns").forEach(name -> criteria.addColumnsToGet(name.getAsString()));
        }
        if (asked.has("filter")) {
            criteria.setFilter(Values.filter(asked.getAsJsonObject("filter")));
        }
        BulkExportResponse found = client.bulkExport(new BulkExportRequest(criteria));
        List<Row> rows = new ArrayList<>();
        if (found.getRows() != null && found.getRows().hasRemaining()) {
            rows = found.getDataBlockType() == DataBlockType.DBT_SIMPLE_ROW_MATRIX
                    ? new SimpleRowMatrixBlockParser(found.getRows()).getRows()
                    : new PlainBufferBlockParser(found.getRows()).getRows();
        }
        return page(rows, found.getNextStartPrimaryKey());
    }

    private static JsonElement splitPoints(JsonObject asked) throws Exception {
        ComputeSplitsBySizeRequest request = new ComputeSplitsBySizeRequest();
        request.setTableName(text(asked, "table"));
        request.setSplitSizeInByte(asked.get("size").getAsLong(), asked.get("unit").getAsLong());
        JsonArray ranges = new JsonArray();
        for (Split split : client.computeSplitsBySize(request).getSplits()) {
            JsonArray range = new JsonArray();
            range.add(Values.json(split.getLowerBound()));
            range.add(Values.json(split.getUpperBound()));
            ranges.add(range);
        }
        return ranges;
    }

    private static JsonElement begin(JsonObject asked) {
        StartLocalTransactionRequest request =
                new StartLocalTransactionRequest(text(asked, "table"), Values.key(asked.get("key")));
        return new JsonPrimitive(client.startLocalTransaction(request).getTransactionID());
    }

    private static JsonElement commit(JsonObject asked) {
        client.commitTransaction(new CommitTransactionRequest(text(asked, "transaction")));
        return NOTHING;
    }

    private static JsonElement abort(JsonObject asked) {
        client.abortTransaction(new AbortTransactionRequest(text(asked, "transaction")));
        return NOTHING;
    }
}
