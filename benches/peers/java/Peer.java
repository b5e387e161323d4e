import com.alicloud.openservices.tablestore.core.protocol.PlainBufferCodedInputStream;
import com.alicloud.openservices.tablestore.core.protocol.PlainBufferConversion;
import com.alicloud.openservices.tablestore.core.protocol.PlainBufferInputStream;
import com.alicloud.openservices.tablestore.core.protocol.PlainBufferRow;
import com.alicloud.openservices.tablestore.model.Column;
import com.alicloud.openservices.tablestore.model.ColumnValue;
import com.alicloud.openservices.tablestore.model.Row;
import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import java.io.IOException;
import java.lang.management.GarbageCollectorMXBean;
import java.lang.management.ManagementFactory;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;

/**
 * GetRange pages read as a Java program reads them: the SDK's PlainBuffer classes, then every column by its name, as a reader
 * with configured columns such as DataX's must.
 *
 * <pre>java Peer FOLDER ROUNDS SET...</pre>
 *
 * Prints a JSON line per set and stage. CPU time is that of the thread that decodes: the collector and the compiler have
 * threads of their own.
 */
public final class Peer {
    /** CPU ms of both stages before anything counts: by then the compiler has done what it does. */
    private static final double WARM_UP_MS = 5_000;

    private static final Gson GSON = new GsonBuilder().serializeNulls().create();

    private record DataSet(JsonObject described, List<String> key, List<String> columns, List<byte[]> pages) {
        static DataSet read(Path folder, String name) throws IOException {
            String text = Files.readString(folder.resolve(name + ".json"));
            JsonObject described = GSON.fromJson(text, JsonObject.class);
            ByteBuffer content = ByteBuffer.wrap(Files.readAllBytes(folder.resolve(name + ".pages")));
            content.order(ByteOrder.LITTLE_ENDIAN);
            List<byte[]> pages = new ArrayList<>();
            while (content.hasRemaining()) {
                byte[] page = new byte[content.getInt()];
                content.get(page);
                pages.add(page);
            }
            return new DataSet(described, names(described, "primary_key"), names(described, "columns"), pages);
        }

        private static List<String> names(JsonObject described, String of) {
            Set<String> names = new LinkedHashSet<>();
            for (JsonElement column : described.getAsJsonArray(of)) {
                names.add(column.getAsJsonArray().get(0).getAsString());
            }
            return List.copyOf(names);
        }
    }

    /** What a stage came across: by this a reader that leaves something out is found, and nothing can be optimised away. */
    private static final class Read {
        long rows;
        long cells;
        long values;
        long integerSum;
        long otherValues;

        void count(PlainBufferRow row) {
            rows += 1;
            cells += row.getCells().size();
        }

        void take(ColumnValue value) {
            switch (value.getType()) {
                case INTEGER -> integerSum += value.asLong();
                case STRING -> otherValues += value.asString().length();
                case BINARY -> otherValues += value.asBinary().length;
                case DOUBLE -> otherValues += Double.doubleToRawLongBits(value.asDouble());
                case BOOLEAN -> otherValues += value.asBoolean() ? 1 : 0;
            }
        }
    }

    private interface Stage {
        Read over(DataSet data) throws IOException;
    }

    private static List<PlainBufferRow> rowsOf(byte[] page) throws IOException {
        return new PlainBufferCodedInputStream(new PlainBufferInputStream(page)).readRowsWithHeader();
    }

    private static Read rows(DataSet data) throws IOException {
        Read read = new Read();
        for (byte[] page : data.pages()) {
            for (PlainBufferRow row : rowsOf(page)) {
                read.count(row);
            }
        }
        return read;
    }

    private static Read rowsAndLookup(DataSet data) throws IOException {
        Read read = new Read();
        for (byte[] page : data.pages()) {
            for (PlainBufferRow decoded : rowsOf(page)) {
                read.count(decoded);
                Row row = PlainBufferConversion.toRow(decoded);
                for (String name : data.key()) {
                    read.take(row.getPrimaryKey().getPrimaryKeyColumn(name).getValue().toColumnValue());
                }
                for (String name : data.columns()) {
                    Column column = row.getLatestColumn(name);
                    if (column != null) {
                        read.values += 1;
                        read.take(column.getValue());
                    }
                }
            }
        }
        return read;
    }

    private static final List<String> NAMES = List.of("rows", "rows+lookup");
    private static final List<Stage> STAGES = List.of(Peer::rows, Peer::rowsAndLookup);

    public static void main(String[] arguments) throws IOException {
        Path folder = Path.of(arguments[0]);
        int rounds = Integer.parseInt(arguments[1]);
        for (String set : List.of(arguments).subList(2, arguments.length)) {
            DataSet data = DataSet.read(folder, set);
            Read proof = rowsAndLookup(data);
            JsonElement cells = data.described().get("cells");
            check(set, "cells", proof.cells, cells == null ? proof.cells : cells.getAsLong());
            for (double start = cpuMs(); cpuMs() - start < WARM_UP_MS; ) {
                measure(set, data, proof);
            }
            List<JsonArray> cpuMs = List.of(new JsonArray(), new JsonArray());
            long collecting = collectionMs();
            for (int round = 0; round < rounds; round++) {
                double[] took = measure(set, data, proof);
                for (int stage = 0; stage < took.length; stage++) {
                    cpuMs.get(stage).add(Math.round(took[stage] * 1e3) / 1e3);
                }
            }
            String note = String.format(
                "parser: PlainBufferCodedInputStream; %s, Java %s; not counted: collector, %d ms wall per round",
                jar(), Runtime.version(), (collectionMs() - collecting) / rounds);
            for (int stage = 0; stage < STAGES.size(); stage++) {
                System.out.println(GSON.toJson(line(set, NAMES.get(stage), cpuMs.get(stage), proof, note)));
            }
        }
    }

    /** CPU ms of each stage over all pages. */
    private static double[] measure(String set, DataSet data, Read proof) throws IOException {
        double[] took = new double[STAGES.size()];
        for (int stage = 0; stage < took.length; stage++) {
            double start = cpuMs();
            Read read = STAGES.get(stage).over(data);
            took[stage] = cpuMs() - start;
            check(set, "rows", read.rows, data.described().get("rows").getAsLong());
            check(set, "cells", read.cells, proof.cells);
            if (read.values > 0) {
                check(set, "values", read.values, proof.values);
                check(set, "bytes", read.otherValues, proof.otherValues);
            }
        }
        return took;
    }

    private static JsonObject line(String set, String stage, JsonArray cpuMs, Read read, String note) {
        JsonObject line = new JsonObject();
        line.addProperty("peer", "java-sdk");
        line.addProperty("set", set);
        line.addProperty("rows", read.rows);
        line.addProperty("stage", stage);
        line.add("cpu_ms", cpuMs);
        line.add("parquet_bytes", null);
        line.addProperty("cells", read.cells);
        line.addProperty("values", read.values);
        line.addProperty("integer_sum", read.integerSum);
        line.addProperty("note", note);
        return line;
    }

    private static void check(String set, String what, long found, long wanted) {
        if (found != wanted) {
            throw new IllegalStateException("java-sdk read " + found + " " + what + " of " + wanted + " in " + set);
        }
    }

    private static double cpuMs() {
        return ManagementFactory.getThreadMXBean().getCurrentThreadCpuTime() / 1e6;
    }

    /** The SDK's file, which has its version in the name. */
    private static Path jar() {
        return Path.of(PlainBufferRow.class.getProtectionDomain().getCodeSource().getLocation().getPath()).getFileName();
    }

    private static long collectionMs() {
        return ManagementFactory.getGarbageCollectorMXBeans().stream()
            .mapToLong(GarbageCollectorMXBean::getCollectionTime)
            .sum();
    }
}
