// The Node.js SDK, as tests/interop/sdk.rs drives it: one call a line on stdin, one answer a line on stdout.
'use strict';

const readline = require('readline');
const TableStore = require('tablestore');

const sandbox = JSON.parse(process.env.SANDBOX);
const client = new TableStore.Client({
  accessKeyId: sandbox.access_key_id,
  secretAccessKey: sandbox.access_key_secret,
  endpoint: sandbox.ots_endpoint,
  instancename: sandbox.instance,
});
TableStore.DefaultRetryPolicy.maxRetryTimes = 0;

const BOUNDS = {min: TableStore.INF_MIN, max: TableStore.INF_MAX, auto: TableStore.PK_AUTO_INCR};
const COMPARATORS = {
  '==': TableStore.ComparatorType.EQUAL, '!=': TableStore.ComparatorType.NOT_EQUAL,
  '>': TableStore.ComparatorType.GREATER_THAN, '>=': TableStore.ComparatorType.GREATER_EQUAL,
  '<': TableStore.ComparatorType.LESS_THAN, '<=': TableStore.ComparatorType.LESS_EQUAL,
};
const EXISTENCE = {
  ignore: TableStore.RowExistenceExpectation.IGNORE, exist: TableStore.RowExistenceExpectation.EXPECT_EXIST,
  not_exist: TableStore.RowExistenceExpectation.EXPECT_NOT_EXIST,
};
const KEY_TYPES = {integer: 'INTEGER', string: 'STRING', binary: 'BINARY'};
// The SDK has no name for the binary one.
const DEFINED_TYPES = {integer: 1, double: 2, boolean: 3, string: 4, binary: 7};

class Unsupported extends Error {}

function valueIn(value) {
  if (typeof value === 'string') return BOUNDS[value];
  const [[kind, content]] = Object.entries(value);
  switch (kind) {
    case 'integer': return TableStore.Long.fromString(content);
    case 'double': return Buffer.from(content, 'hex').readDoubleBE(0);
    case 'binary': return Buffer.from(content, 'hex');
    default: return content;
  }
}

function valueOut(value) {
  if (typeof value === 'boolean') return {boolean: value};
  if (typeof value === 'string') return {string: value};
  if (typeof value === 'number') {
    const bits = Buffer.alloc(8);
    bits.writeDoubleBE(value, 0);
    return {double: bits.toString('hex')};
  }
  if (Buffer.isBuffer(value)) return {binary: value.toString('hex')};
  return {integer: value.toString()};
}

const keyIn = (key) => key.map(([name, value]) => ({[name]: valueIn(value)}));
const keyOut = (key) => key.map(({name, value}) => [name, valueOut(value)]);

function rowOut(row) {
  if (!row || !row.primaryKey || row.primaryKey.length === 0) return null;
  const cells = (row.attributes || []).map(
    ({columnName, columnValue, timestamp}) => [columnName, valueOut(columnValue), Number(timestamp.toString())]);
  return {key: keyOut(row.primaryKey), cells};
}

function cellIn([name, value, timestamp]) {
  const cell = {[name]: valueIn(value)};
  if (timestamp !== undefined) cell.timestamp = timestamp;
  return cell;
}

const changesIn = (changes) => changes.map(([kind, name, ...rest]) => {
  switch (kind) {
    case 'put': return {PUT: [cellIn([name, ...rest])]};
    case 'delete_version': return {DELETE: [{[name]: rest[0]}]};
    case 'delete_column': return {DELETE_ALL: [name]};
    default: return {INCREMENT: [{[name]: TableStore.Long.fromString(rest[0])}]};
  }
});

function filterIn(wanted) {
  if (!wanted) return null;
  for (const [word, operator] of [['and', 'AND'], ['or', 'OR'], ['not', 'NOT']]) {
    if (!(word in wanted)) continue;
    const made = new TableStore.CompositeCondition(TableStore.LogicalOperator[operator]);
    for (const part of word === 'not' ? [wanted.not] : wanted[word]) made.addSubCondition(filterIn(part));
    return made;
  }
  if ('page' in wanted) return new TableStore.ColumnPaginationFilter(wanted.page[1], wanted.page[0]);
  return new TableStore.SingleColumnCondition(
    wanted.column, valueIn(wanted.value), COMPARATORS[wanted.is], wanted.pass_if_missing, wanted.latest_only);
}

const condition = (call) => new TableStore.Condition(EXISTENCE[call.exists || 'ignore'], filterIn(call.filter));

function writeIn(call) {
  const made = {
    primaryKey: keyIn(call.key),
    condition: condition(call),
    returnContent: {
      returnType: TableStore.ReturnType[{pk: 'Primarykey', after: 'AfterModify'}[call.return] || 'NONE'],
      returnColumns: call.return_columns,
    },
  };
  const columns = call.op === 'update' ? changesIn(call.changes) : (call.cells || []).map(cellIn);
  return [made, columns];
}

function readIn(call) {
  const made = {
    columnsToGet: call.columns, maxVersions: call.versions, startColumn: call.start_column, endColumn: call.end_column,
  };
  if (call.filter) made.columnFilter = filterIn(call.filter);
  if (call.times) made.timeRange = {startTime: call.times[0], endTime: call.times[1]};
  return made;
}

const optionsIn = (options) => ({
  timeToLive: options.ttl, maxVersions: options.versions, maxTimeDeviation: options.deviation,
  allowUpdate: options.allow_update,
});
const streamIn = (hours) => ({enableStream: true, expirationTime: hours});

const outcome = (item) => item.isOk ? {row: rowOut(item)} : {error: [item.errorCode, item.errorMessage]};

const CALLS = {
  async create_table(call) {
    if (call.splits || call.transactions) throw new Unsupported('splits or transactions at creation');
    await client.createTable({
      tableMeta: {
        tableName: call.table,
        primaryKey: call.keys.map(([name, kind, auto]) => (
          {name, type: KEY_TYPES[kind], ...(auto ? {option: 'AUTO_INCREMENT'} : {})})),
        definedColumn: (call.defined || []).map(([name, kind]) => ({name, type: DEFINED_TYPES[kind]})),
      },
      reservedThroughput: {capacityUnit: {read: 0, write: 0}},
      tableOptions: optionsIn(call.options),
      ...(call.stream ? {streamSpecification: streamIn(call.stream)} : {}),
    });
  },
  async list_tables() {
    return (await client.listTable({})).tableNames.sort();
  },
  async describe_table(call) {
    const {tableMeta, tableOptions} = await client.describeTable({tableName: call.table});
    const name = (kinds, number) => Object.keys(kinds).find((kind) => kinds[kind] === number);
    return {
      keys: tableMeta.primaryKey.map((column) => [
        column.name, name(TableStore.PrimaryKeyType, column.type).toLowerCase(), Object.hasOwn(column, 'option')]),
      defined: tableMeta.definedColumn.map((column) => [column.name, name(DEFINED_TYPES, column.type)]),
      options: {
        ttl: tableOptions.timeToLive, versions: tableOptions.maxVersions,
        deviation: Number(tableOptions.deviationCellVersionInSec.toString()),
      },
    };
  },
  async update_table(call) {
    await client.updateTable({
      tableName: call.table, tableOptions: optionsIn(call.options),
      ...(call.stream ? {streamSpecification: streamIn(call.stream)} : {}),
    });
  },
  async delete_table(call) {
    await client.deleteTable({tableName: call.table});
  },
  async write(call) {
    const [made, columns] = writeIn(call);
    const request = {tableName: call.table, transactionId: call.transaction, ...made};
    switch (call.op) {
      case 'put': return rowOut((await client.putRow({...request, attributeColumns: columns})).row);
      case 'update': return rowOut((await client.updateRow({...request, updateOfAttributeColumns: columns})).row);
      default: return rowOut((await client.deleteRow(request)).row);
    }
  },
  async get(call) {
    const request = {tableName: call.table, primaryKey: keyIn(call.key), transactionId: call.transaction};
    return rowOut((await client.getRow({...request, ...readIn(call)})).row);
  },
  async range(call) {
    const found = await client.getRange({
      tableName: call.table, direction: call.backward ? TableStore.Direction.BACKWARD : TableStore.Direction.FORWARD,
      inclusiveStartPrimaryKey: keyIn(call.from), exclusiveEndPrimaryKey: keyIn(call.to), limit: call.limit,
      transactionId: call.transaction, ...readIn(call),
    });
    return {rows: found.rows.map(rowOut), next: found.nextStartPrimaryKey && keyOut(found.nextStartPrimaryKey)};
  },
  async batch_get(call) {
    const tables = call.tables.map((table) => (
      {tableName: table.table, primaryKey: table.keys.map(keyIn), ...readIn(table)}));
    return (await client.batchGetRow({tables})).tables.map((rows) => rows.map(outcome));
  },
  async batch_write(call) {
    if (call.atomic) throw new Unsupported('atomic batch');
    const tables = call.tables.map((table) => ({
      tableName: table.table,
      rows: table.rows.map((row) => {
        const [made, columns] = writeIn(row);
        return {type: row.op.toUpperCase(), attributeColumns: columns, ...made};
      }),
    }));
    const rows = (await client.batchWriteRow({tables, transactionId: call.transaction})).tables.map(outcome);
    // The SDK answers with one flat list.
    return call.tables.map((table) => rows.splice(0, table.rows.length));
  },
  async begin(call) {
    return (await client.startLocalTransaction({tableName: call.table, primaryKey: keyIn(call.key)})).transactionId;
  },
  async commit(call) {
    await client.commitTransaction({transactionId: call.transaction});
  },
  async abort(call) {
    try {
      await client.abortTransaction({transactionId: call.transaction});
    } catch (error) {
      // The SDK takes the empty answer for a request, whose fields it misses.
      if (error.name !== 'ProtocolError') throw error;
    }
  },
};

// The SDK hands on a refusal as the undecoded message, taken for text, and its own words after it.
function refusal(error) {
  const [, code, text] = /^\n.(OTS\w+)(?:\x12(?:[\0-\x7f]|..)?(.*))? requestId:/s.exec(error.message) || [];
  return code ? [code, text || ''] : null;
}

(async () => {
  for await (const line of readline.createInterface({input: process.stdin})) {
    const call = JSON.parse(line);
    let answer;
    try {
      if (!CALLS[call.do]) throw new Unsupported(call.do);
      answer = {ok: (await CALLS[call.do](call)) ?? null};
    } catch (error) {
      const found = error instanceof Unsupported ? ['unsupported', error.message] : refusal(error);
      if (!found) throw error;
      answer = {error: found};
    }
    process.stdout.write(JSON.stringify(answer) + '\n');
  }
})();
