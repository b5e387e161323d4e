// The Go SDK, as tests/interop/sdk.rs drives it: one call a line on stdin, one answer a line on stdout.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sort"

	"github.com/aliyun/aliyun-tablestore-go-sdk/tablestore"
)

// call is a line of the driver, with the arguments of all calls.
type call struct {
	Do           string            `json:"do"`
	Table        string            `json:"table"`
	Keys         []json.RawMessage `json:"keys"`
	Defined      [][2]string       `json:"defined"`
	Options      *options          `json:"options"`
	Stream       int32             `json:"stream"`
	Splits       []json.RawMessage `json:"splits"`
	Transactions bool              `json:"transactions"`
	Tables       []call            `json:"tables"`
	Rows         []write           `json:"rows"`
	Atomic       bool              `json:"atomic"`
	From         key               `json:"from"`
	To           key               `json:"to"`
	Backward     bool              `json:"backward"`
	Limit        int32             `json:"limit"`
	Matrix       bool              `json:"matrix"`
	Size         int64             `json:"size"`
	Unit         int64             `json:"unit"`
	StreamID     string            `json:"stream_id"`
	Shard        string            `json:"shard"`
	Iterator     string            `json:"iterator"`
	Timestamp    *int64            `json:"timestamp"`
	read
	write
}

type options struct {
	TTL         int   `json:"ttl"`
	Versions    int   `json:"versions"`
	Deviation   int64 `json:"deviation"`
	AllowUpdate *bool `json:"allow_update,omitempty"`
}

// read holds what GetRow, BatchGetRow and GetRange share.
type read struct {
	Columns     []string  `json:"columns"`
	Versions    int32     `json:"versions"`
	Times       *[2]int64 `json:"times"`
	StartColumn *string   `json:"start_column"`
	EndColumn   *string   `json:"end_column"`
}

// write is one change of a row; its key and filter also serve reads.
type write struct {
	Op            string              `json:"op"`
	Key           key                 `json:"key"`
	Cells         []cell              `json:"cells"`
	Changes       [][]json.RawMessage `json:"changes"`
	Exists        string              `json:"exists"`
	Filter        *filter             `json:"filter"`
	Return        string              `json:"return"`
	ReturnColumns []string            `json:"return_columns"`
	Transaction   *string             `json:"transaction"`
}

type unsupported string

func (what unsupported) Error() string { return string(what) }

var (
	client    *tablestore.TableStoreClient
	keyTypes  = map[string]tablestore.PrimaryKeyType{"integer": 1, "string": 2, "binary": 3}
	cellTypes = map[string]tablestore.DefinedColumnType{"integer": 1, "double": 2, "boolean": 3, "string": 4, "binary": 5}
	calls     = map[string]func(call) (interface{}, error){
		"create_table": createTable, "list_tables": listTables, "describe_table": describeTable,
		"update_table": updateTable, "delete_table": deleteTable,
		"write": writeRow, "get": getRow, "range": getRange, "batch_get": batchGet, "batch_write": batchWrite,
		"split_points": splitPoints, "begin": begin, "commit": commit, "abort": abort,
		"list_streams": listStreams, "describe_stream": describeStream, "shard_iterator": shardIterator, "records": records,
	}
)

func main() {
	var sandbox struct {
		Endpoint string `json:"ots_endpoint"`
		Instance string `json:"instance"`
		ID       string `json:"access_key_id"`
		Secret   string `json:"access_key_secret"`
	}
	check(json.Unmarshal([]byte(os.Getenv("SANDBOX")), &sandbox))
	client = tablestore.NewClient(sandbox.Endpoint, sandbox.Instance, sandbox.ID, sandbox.Secret)
	lines := bufio.NewReaderSize(os.Stdin, 1<<16)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		var asked call
		check(json.Unmarshal(line, &asked))
		answer, err := perform(asked)
		var refused *tablestore.OtsError
		var missing unsupported
		switch {
		case err == nil:
			say(map[string]interface{}{"ok": answer})
		case errors.As(err, &refused):
			say(map[string]interface{}{"error": []string{refused.Code, refused.Message}})
		case errors.As(err, &missing):
			say(map[string]interface{}{"error": []string{"unsupported", err.Error()}})
		default:
			check(err)
		}
	}
}

func perform(asked call) (interface{}, error) {
	known, ok := calls[asked.Do]
	if !ok {
		return nil, unsupported(asked.Do)
	}
	return known(asked)
}

func say(answer interface{}) {
	line, err := json.Marshal(answer)
	check(err)
	fmt.Println(string(line))
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func createTable(asked call) (interface{}, error) {
	if asked.Splits != nil {
		return nil, unsupported("splits at creation")
	}
	meta := &tablestore.TableMeta{TableName: asked.Table}
	for _, raw := range asked.Keys {
		var name, kind string
		var auto bool
		check(json.Unmarshal(raw, &[]interface{}{&name, &kind, &auto}))
		kindOf := keyTypes[kind]
		column := &tablestore.PrimaryKeySchema{Name: &name, Type: &kindOf}
		if auto {
			option := tablestore.AUTO_INCREMENT
			column.Option = &option
		}
		meta.SchemaEntry = append(meta.SchemaEntry, column)
	}
	for _, column := range asked.Defined {
		defined := &tablestore.DefinedColumnSchema{Name: column[0], ColumnType: cellTypes[column[1]]}
		meta.DefinedColumns = append(meta.DefinedColumns, defined)
	}
	request := &tablestore.CreateTableRequest{
		TableMeta: meta, TableOption: asked.Options.in(), ReservedThroughput: &tablestore.ReservedThroughput{},
		StreamSpec: asked.stream(),
	}
	if asked.Transactions {
		request.EnableLocalTxn = &asked.Transactions
	}
	_, err := client.CreateTable(request)
	return nil, err
}

func (wanted *options) in() *tablestore.TableOption {
	return &tablestore.TableOption{
		TimeToAlive: wanted.TTL, MaxVersion: wanted.Versions, DeviationCellVersionInSec: wanted.Deviation,
		AllowUpdate: wanted.AllowUpdate,
	}
}

func (asked call) stream() *tablestore.StreamSpecification {
	if asked.Stream == 0 {
		return nil
	}
	return &tablestore.StreamSpecification{EnableStream: true, ExpirationTime: asked.Stream}
}

func listTables(call) (interface{}, error) {
	found, err := client.ListTable()
	if err != nil {
		return nil, err
	}
	names := append([]string{}, found.TableNames...)
	sort.Strings(names)
	return names, nil
}

func describeTable(asked call) (interface{}, error) {
	found, err := client.DescribeTable(&tablestore.DescribeTableRequest{TableName: asked.Table})
	if err != nil {
		return nil, err
	}
	keys, defined := [][]interface{}{}, [][]interface{}{}
	for _, column := range found.TableMeta.SchemaEntry {
		for name, kind := range keyTypes {
			if kind == *column.Type {
				keys = append(keys, []interface{}{*column.Name, name, column.Option != nil})
			}
		}
	}
	for _, column := range found.TableMeta.DefinedColumns {
		for name, kind := range cellTypes {
			if kind == column.ColumnType {
				defined = append(defined, []interface{}{column.Name, name})
			}
		}
	}
	described := options{
		TTL: found.TableOption.TimeToAlive, Versions: found.TableOption.MaxVersion,
		Deviation: found.TableOption.DeviationCellVersionInSec,
	}
	return map[string]interface{}{"keys": keys, "defined": defined, "options": described}, nil
}

func updateTable(asked call) (interface{}, error) {
	_, err := client.UpdateTable(&tablestore.UpdateTableRequest{
		TableName: asked.Table, TableOption: asked.Options.in(), StreamSpec: asked.stream(),
	})
	return nil, err
}

func deleteTable(asked call) (interface{}, error) {
	_, err := client.DeleteTable(&tablestore.DeleteTableRequest{TableName: asked.Table})
	return nil, err
}

func writeRow(asked call) (interface{}, error) {
	change, err := asked.write.in(asked.Table)
	if err != nil {
		return nil, err
	}
	switch change := change.(type) {
	case *tablestore.PutRowChange:
		done, err := client.PutRow(&tablestore.PutRowRequest{PutRowChange: change})
		if err != nil {
			return nil, err
		}
		return rowOut(done.PrimaryKey, nil), nil
	case *tablestore.UpdateRowChange:
		done, err := client.UpdateRow(&tablestore.UpdateRowRequest{UpdateRowChange: change})
		if err != nil || done.Columns == nil {
			return nil, err
		}
		return row{Cells: cellsOut(done.Columns)}, nil
	default:
		_, err := client.DeleteRow(&tablestore.DeleteRowRequest{DeleteRowChange: change.(*tablestore.DeleteRowChange)})
		return nil, err
	}
}

func getRow(asked call) (interface{}, error) {
	found, err := client.GetRow(&tablestore.GetRowRequest{SingleRowQueryCriteria: &tablestore.SingleRowQueryCriteria{
		TableName: asked.Table, PrimaryKey: asked.Key.in(), ColumnsToGet: asked.Columns, MaxVersion: asked.Versions,
		TimeRange: asked.times(), Filter: asked.Filter.in(), StartColumn: asked.StartColumn, EndColumn: asked.EndColumn,
		TransactionId: asked.Transaction,
	}})
	if err != nil {
		return nil, err
	}
	return rowOut(found.PrimaryKey, found.Columns), nil
}

func (asked read) times() *tablestore.TimeRange {
	if asked.Times == nil {
		return nil
	}
	return &tablestore.TimeRange{Start: asked.Times[0], End: asked.Times[1]}
}

func getRange(asked call) (interface{}, error) {
	criteria := &tablestore.RangeRowQueryCriteria{
		TableName: asked.Table, StartPrimaryKey: asked.From.in(), EndPrimaryKey: asked.To.in(), Limit: asked.Limit,
		ColumnsToGet: asked.Columns, MaxVersion: asked.Versions, TimeRange: asked.times(), Filter: asked.Filter.in(),
		StartColumn: asked.StartColumn, EndColumn: asked.EndColumn, TransactionId: asked.Transaction,
	}
	if asked.Backward {
		criteria.Direction = tablestore.BACKWARD
	}
	if asked.Matrix {
		criteria.DataBlockType = tablestore.SimpleRowMatrix
	}
	found, err := client.GetRange(&tablestore.GetRangeRequest{RangeRowQueryCriteria: criteria})
	if err != nil {
		return nil, err
	}
	if asked.Matrix && len(found.Rows) > 0 && found.DataBlockType != tablestore.SimpleRowMatrix {
		return nil, unsupported("the service sent no row matrix")
	}
	rows := []interface{}{}
	for _, found := range found.Rows {
		rows = append(rows, rowOut(*found.PrimaryKey, found.Columns))
	}
	var next interface{}
	if found.NextStartPrimaryKey != nil {
		next = keyOut(*found.NextStartPrimaryKey)
	}
	return map[string]interface{}{"rows": rows, "next": next}, nil
}

func batchGet(asked call) (interface{}, error) {
	request := &tablestore.BatchGetRowRequest{}
	for _, table := range asked.Tables {
		criteria := &tablestore.MultiRowQueryCriteria{
			TableName: table.Table, ColumnsToGet: table.Columns, MaxVersion: int(table.Versions), TimeRange: table.times(),
			Filter: table.Filter.in(), StartColumn: table.StartColumn, EndColumn: table.EndColumn,
		}
		for _, raw := range table.Keys {
			var wanted key
			check(json.Unmarshal(raw, &wanted))
			criteria.AddRow(wanted.in())
		}
		request.MultiRowQueryCriteria = append(request.MultiRowQueryCriteria, criteria)
	}
	found, err := client.BatchGetRow(request)
	if err != nil {
		return nil, err
	}
	return outcomes(asked, found.TableToRowsResult), nil
}

func batchWrite(asked call) (interface{}, error) {
	if asked.Transaction != nil {
		return nil, unsupported("batch in a transaction")
	}
	request := &tablestore.BatchWriteRowRequest{IsAtomic: asked.Atomic}
	for _, table := range asked.Tables {
		for _, wanted := range table.Rows {
			change, err := wanted.in(table.Table)
			if err != nil {
				return nil, err
			}
			request.AddRowChange(change)
		}
	}
	done, err := client.BatchWriteRow(request)
	if err != nil {
		return nil, err
	}
	return outcomes(asked, done.TableToRowsResult), nil
}

func outcomes(asked call, found map[string][]tablestore.RowResult) [][]map[string]interface{} {
	all := [][]map[string]interface{}{}
	for _, table := range asked.Tables {
		rows := []map[string]interface{}{}
		for _, result := range found[table.Table] {
			if result.IsSucceed {
				rows = append(rows, map[string]interface{}{"row": rowOut(result.PrimaryKey, result.Columns)})
			} else {
				rows = append(rows, map[string]interface{}{"error": []string{result.Error.Code, result.Error.Message}})
			}
		}
		all = append(all, rows)
	}
	return all
}

func splitPoints(asked call) (interface{}, error) {
	found, err := client.ComputeSplitPointsBySize(&tablestore.ComputeSplitPointsBySizeRequest{
		TableName: asked.Table, SplitSize: asked.Size, SplitSizeUnitInByte: &asked.Unit,
	})
	if err != nil {
		return nil, err
	}
	ranges := [][]interface{}{}
	for _, split := range found.Splits {
		ranges = append(ranges, []interface{}{keyOut(*split.LowerBound), keyOut(*split.UpperBound)})
	}
	return ranges, nil
}

func begin(asked call) (interface{}, error) {
	request := &tablestore.StartLocalTransactionRequest{TableName: asked.Table, PrimaryKey: asked.Key.in()}
	done, err := client.StartLocalTransaction(request)
	if err != nil {
		return nil, err
	}
	return *done.TransactionId, nil
}

func commit(asked call) (interface{}, error) {
	_, err := client.CommitTransaction(&tablestore.CommitTransactionRequest{TransactionId: asked.Transaction})
	return nil, err
}

func abort(asked call) (interface{}, error) {
	_, err := client.AbortTransaction(&tablestore.AbortTransactionRequest{TransactionId: asked.Transaction})
	return nil, err
}
