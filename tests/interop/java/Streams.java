import com.alicloud.openservices.tablestore.SyncClient;
import com.alicloud.openservices.tablestore.model.*;
import com.google.gson.*;

/** The four calls of a Stream. */
final class Streams {
    static SyncClient client;

    private Streams() {}

    static JsonElement list(JsonObject asked) {
        JsonArray ids = new JsonArray();
        client.listStream(new ListStreamRequest(TableStore.text(asked, "table"))).getStreams()
                .forEach(stream -> ids.add(stream.getStreamId()));
        return ids;
    }

    static JsonElement describe(JsonObject asked) {
        DescribeStreamRequest request = new DescribeStreamRequest(TableStore.text(asked, "stream_id"));
        if (asked.has("shard")) {
            request.setInclusiveStartShardId(TableStore.text(asked, "shard"));
        }
        if (asked.has("limit")) {
            request.setShardLimit(asked.get("limit").getAsInt());
        }
        DescribeStreamResponse found = client.describeStream(request);
        JsonArray shards = new JsonArray();
        for (StreamShard shard : found.getShards()) {
            JsonArray ids = new JsonArray();
            ids.add(orEmpty(shard.getShardId()));
            ids.add(orEmpty(shard.getParentId()));
            ids.add(orEmpty(shard.getParentSiblingId()));
            shards.add(ids);
        }
        JsonObject described = new JsonObject();
        described.addProperty("table", found.getTableName());
        described.addProperty("hours", found.getExpirationTime());
        described.add("shards", shards);
        described.addProperty("next", orEmpty(found.getNextShardId()));
        return described;
    }

    private static String orEmpty(String text) {
        return text == null ? "" : text;
    }

    static JsonElement iterator(JsonObject asked) {
        GetShardIteratorRequest request = new GetShardIteratorRequest(
                TableStore.text(asked, "stream_id"), TableStore.text(asked, "shard"));
        if (asked.has("timestamp")) {
            request.setTimestamp(asked.get("timestamp").getAsLong());
        }
        GetShardIteratorResponse found = client.getShardIterator(request);
        while (found.getNextToken() != null && !found.getNextToken().isEmpty()) {
            request.setToken(found.getNextToken());
            found = client.getShardIterator(request);
        }
        return new JsonPrimitive(found.getShardIterator());
    }

    static JsonElement records(JsonObject asked) throws Exception {
        GetStreamRecordRequest request = new GetStreamRecordRequest(TableStore.text(asked, "iterator"));
        if (asked.has("limit")) {
            request.setLimit(asked.get("limit").getAsInt());
        }
        GetStreamRecordResponse found = client.getStreamRecord(request);
        JsonArray records = new JsonArray();
        for (StreamRecord record : found.getRecords()) {
            JsonArray changes = new JsonArray();
            for (RecordColumn column : record.getColumns()) {
                Column cell = column.getColumn();
                JsonArray change = new JsonArray();
                change.add(switch (column.getColumnType()) {
                    case PUT -> "put";
                    case DELETE_ONE_VERSION -> "delete_version";
                    case DELETE_ALL_VERSION -> "delete_column";
                });
                change.add(cell.getName());
                if (column.getColumnType() == RecordColumn.ColumnType.PUT) {
                    change.add(Values.json(cell.getValue()));
                }
                if (column.getColumnType() != RecordColumn.ColumnType.DELETE_ALL_VERSION) {
                    change.add(cell.getTimestamp());
                }
                changes.add(change);
            }
            JsonObject json = new JsonObject();
            json.addProperty("type", record.getRecordType().name().toLowerCase());
            json.add("key", Values.json(record.getPrimaryKey()));
            json.add("changes", changes);
            json.addProperty("at", record.getSequenceInfo().getTimestamp());
            records.add(json);
        }
        JsonObject page = new JsonObject();
        page.add("records", records);
        page.addProperty("next", found.getNextShardIterator());
        return page;
    }
}
