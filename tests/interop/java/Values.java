import com.alicloud.openservices.tablestore.model.*;
import com.alicloud.openservices.tablestore.model.filter.*;
import com.google.gson.*;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;

/** Between the driver's JSON and the SDK's values, keys, rows and filters. */
final class Values {
    private static final Map<String, SingleColumnValueFilter.CompareOperator> COMPARATORS = Map.of(
            "==", SingleColumnValueFilter.CompareOperator.EQUAL,
            "!=", SingleColumnValueFilter.CompareOperator.NOT_EQUAL,
            ">", SingleColumnValueFilter.CompareOperator.GREATER_THAN,
            ">=", SingleColumnValueFilter.CompareOperator.GREATER_EQUAL,
            "<", SingleColumnValueFilter.CompareOperator.LESS_THAN,
            "<=", SingleColumnValueFilter.CompareOperator.LESS_EQUAL);

    private Values() {}

    static ColumnValue value(JsonElement json) {
        Map.Entry<String, JsonElement> only = json.getAsJsonObject().entrySet().iterator().next();
        JsonElement content = only.getValue();
        return switch (only.getKey()) {
            case "integer" -> ColumnValue.fromLong(Long.parseLong(content.getAsString()));
            case "double" -> ColumnValue.fromDouble(
                    Double.longBitsToDouble(Long.parseUnsignedLong(content.getAsString(), 16)));
            case "boolean" -> ColumnValue.fromBoolean(content.getAsBoolean());
            case "string" -> ColumnValue.fromString(content.getAsString());
            default -> ColumnValue.fromBinary(HexFormat.of().parseHex(content.getAsString()));
        };
    }

    static JsonObject json(ColumnValue value) {
        JsonObject json = new JsonObject();
        switch (value.getType()) {
            case INTEGER -> json.addProperty("integer", Long.toString(value.asLong()));
            case DOUBLE -> json.addProperty(
                    "double", HexFormat.of().toHexDigits(Double.doubleToRawLongBits(value.asDouble())));
            case BOOLEAN -> json.addProperty("boolean", value.asBoolean());
            case STRING -> json.addProperty("string", value.asString());
            default -> json.addProperty("binary", HexFormat.of().formatHex(value.asBinary()));
        }
        return json;
    }

    static PrimaryKeyValue keyValue(JsonElement json) {
        if (!json.isJsonPrimitive()) {
            return PrimaryKeyValue.fromColumn(value(json));
        }
        return switch (json.getAsString()) {
            case "min" -> PrimaryKeyValue.INF_MIN;
            case "max" -> PrimaryKeyValue.INF_MAX;
            default -> PrimaryKeyValue.AUTO_INCREMENT;
        };
    }

    static PrimaryKey key(JsonElement json) {
        PrimaryKeyBuilder key = PrimaryKeyBuilder.createPrimaryKeyBuilder();
        for (JsonElement column : json.getAsJsonArray()) {
            JsonArray pair = column.getAsJsonArray();
            key.addPrimaryKeyColumn(pair.get(0).getAsString(), keyValue(pair.get(1)));
        }
        return key.build();
    }

    static JsonElement json(PrimaryKey key) throws Exception {
        if (key == null) {
            return JsonNull.INSTANCE;
        }
        JsonArray json = new JsonArray();
        for (PrimaryKeyColumn column : key.getPrimaryKeyColumns()) {
            PrimaryKeyValue value = column.getValue();
            JsonArray pair = new JsonArray();
            pair.add(column.getName());
            if (value.isInfMin() || value.isInfMax()) {
                pair.add(value.isInfMin() ? "min" : "max");
            } else {
                pair.add(json(value.toColumnValue()));
            }
            json.add(pair);
        }
        return json;
    }

    static JsonElement json(Row row) throws Exception {
        if (row == null || row.getPrimaryKey() == null) {
            return JsonNull.INSTANCE;
        }
        JsonArray cells = new JsonArray();
        for (Column column : row.getColumns()) {
            JsonArray cell = new JsonArray();
            cell.add(column.getName());
            cell.add(json(column.getValue()));
            cell.add(column.hasSetTimestamp() ? new JsonPrimitive(column.getTimestamp()) : JsonNull.INSTANCE);
            cells.add(cell);
        }
        JsonObject json = new JsonObject();
        json.add("key", json(row.getPrimaryKey()));
        json.add("cells", cells);
        return json;
    }

    static JsonArray json(List<Row> rows) throws Exception {
        JsonArray json = new JsonArray();
        for (Row row : rows) {
            json.add(json(row));
        }
        return json;
    }

    static Column cell(JsonArray cell) {
        String name = cell.get(0).getAsString();
        ColumnValue value = value(cell.get(1));
        return cell.size() == 2 ? new Column(name, value) : new Column(name, value, cell.get(2).getAsLong());
    }

    static Filter filter(JsonObject json) {
        if (json.has("page")) {
            JsonArray page = json.getAsJsonArray("page");
            return new ColumnPaginationFilter(page.get(1).getAsInt(), page.get(0).getAsInt());
        }
        return columnFilter(json);
    }

    static ColumnValueFilter columnFilter(JsonObject json) {
        for (String word : List.of("and", "or", "not")) {
            if (!json.has(word)) {
                continue;
            }
            CompositeColumnValueFilter made = new CompositeColumnValueFilter(
                    CompositeColumnValueFilter.LogicOperator.valueOf(word.toUpperCase()));
            if (word.equals("not")) {
                return made.addFilter(columnFilter(json.getAsJsonObject(word)));
            }
            for (JsonElement part : json.getAsJsonArray(word)) {
                made.addFilter(columnFilter(part.getAsJsonObject()));
            }
            return made;
        }
        return new SingleColumnValueFilter(
                        json.get("column").getAsString(),
                        COMPARATORS.get(json.get("is").getAsString()),
                        value(json.get("value")))
                .setPassIfMissing(json.get("pass_if_missing").getAsBoolean())
                .setLatestVersionsOnly(json.get("latest_only").getAsBoolean());
    }
}
