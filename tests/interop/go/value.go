package main

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"strconv"

	"github.com/aliyun/aliyun-tablestore-go-sdk/tablestore"
)

// key is [[name, value], ...], cell is [name, value, timestamp].
type (
	key  [][2]json.RawMessage
	cell []json.RawMessage
	row  struct {
		Key   [][2]interface{} `json:"key"`
		Cells [][3]interface{} `json:"cells"`
	}
)

type filter struct {
	Column        string          `json:"column"`
	Is            string          `json:"is"`
	Value         json.RawMessage `json:"value"`
	PassIfMissing bool            `json:"pass_if_missing"`
	LatestOnly    bool            `json:"latest_only"`
	And           []*filter       `json:"and"`
	Or            []*filter       `json:"or"`
	Not           *filter         `json:"not"`
	Page          *[2]int32       `json:"page"`
}

func valueIn(raw json.RawMessage) interface{} {
	var value struct {
		Integer, Double, String, Binary *string
		Boolean                         *bool
	}
	check(json.Unmarshal(raw, &value))
	switch {
	case value.Integer != nil:
		number, err := strconv.ParseInt(*value.Integer, 10, 64)
		check(err)
		return number
	case value.Double != nil:
		bits, err := strconv.ParseUint(*value.Double, 16, 64)
		check(err)
		return math.Float64frombits(bits)
	case value.Binary != nil:
		bytes, err := hex.DecodeString(*value.Binary)
		check(err)
		return bytes
	case value.Boolean != nil:
		return *value.Boolean
	default:
		return *value.String
	}
}

func valueOut(value interface{}) interface{} {
	switch value := value.(type) {
	case int64:
		return map[string]string{"integer": strconv.FormatInt(value, 10)}
	case float64:
		return map[string]string{"double": fmt.Sprintf("%016x", math.Float64bits(value))}
	case bool:
		return map[string]bool{"boolean": value}
	case []byte:
		return map[string]string{"binary": hex.EncodeToString(value)}
	default:
		return map[string]string{"string": value.(string)}
	}
}

func textOf(raw json.RawMessage) (found string) {
	check(json.Unmarshal(raw, &found))
	return found
}

func (wanted key) in() *tablestore.PrimaryKey {
	made := &tablestore.PrimaryKey{}
	for _, column := range wanted {
		name := textOf(column[0])
		switch string(column[1]) {
		case `"min"`:
			made.AddPrimaryKeyColumnWithMinValue(name)
		case `"max"`:
			made.AddPrimaryKeyColumnWithMaxValue(name)
		case `"auto"`:
			made.AddPrimaryKeyColumnWithAutoIncrement(name)
		default:
			made.AddPrimaryKeyColumn(name, valueIn(column[1]))
		}
	}
	return made
}

func keyOut(found tablestore.PrimaryKey) [][2]interface{} {
	key := [][2]interface{}{}
	for _, column := range found.PrimaryKeys {
		switch column.PrimaryKeyOption {
		case tablestore.MIN:
			key = append(key, [2]interface{}{column.ColumnName, "min"})
		case tablestore.MAX:
			key = append(key, [2]interface{}{column.ColumnName, "max"})
		default:
			key = append(key, [2]interface{}{column.ColumnName, valueOut(column.Value)})
		}
	}
	return key
}

func cellsOut(columns []*tablestore.AttributeColumn) [][3]interface{} {
	cells := [][3]interface{}{}
	for _, column := range columns {
		cells = append(cells, [3]interface{}{column.ColumnName, valueOut(column.Value), column.Timestamp})
	}
	return cells
}

func rowOut(found tablestore.PrimaryKey, columns []*tablestore.AttributeColumn) interface{} {
	if len(found.PrimaryKeys) == 0 {
		return nil
	}
	return row{keyOut(found), cellsOut(columns)}
}

func (wanted *filter) in() tablestore.ColumnFilter {
	composite := func(operator tablestore.LogicalOperator, parts ...*filter) tablestore.ColumnFilter {
		made := &tablestore.CompositeColumnValueFilter{Operator: operator}
		for _, part := range parts {
			made.AddFilter(part.in())
		}
		return made
	}
	switch {
	case wanted == nil:
		return nil
	case wanted.And != nil:
		return composite(tablestore.LO_AND, wanted.And...)
	case wanted.Or != nil:
		return composite(tablestore.LO_OR, wanted.Or...)
	case wanted.Not != nil:
		return composite(tablestore.LO_NOT, wanted.Not)
	case wanted.Page != nil:
		return &tablestore.PaginationFilter{Offset: wanted.Page[0], Limit: wanted.Page[1]}
	}
	comparator := map[string]tablestore.ComparatorType{
		"==": tablestore.CT_EQUAL, "!=": tablestore.CT_NOT_EQUAL, ">": tablestore.CT_GREATER_THAN,
		">=": tablestore.CT_GREATER_EQUAL, "<": tablestore.CT_LESS_THAN, "<=": tablestore.CT_LESS_EQUAL,
	}[wanted.Is]
	return &tablestore.SingleColumnCondition{
		Comparator: &comparator, ColumnName: &wanted.Column, ColumnValue: valueIn(wanted.Value),
		FilterIfMissing: !wanted.PassIfMissing, LatestVersionOnly: wanted.LatestOnly,
	}
}

func (wanted write) in(table string) (tablestore.RowChange, error) {
	condition := &tablestore.RowCondition{
		RowExistenceExpectation: map[string]tablestore.RowExistenceExpectation{
			"": 0, "ignore": 0, "exist": 1, "not_exist": 2,
		}[wanted.Exists],
		ColumnCondition: wanted.Filter.in(),
	}
	returns := map[string]tablestore.ReturnType{
		"pk": tablestore.ReturnType_RT_PK, "after": tablestore.ReturnType_RT_AFTER_MODIFY,
	}[wanted.Return]
	switch wanted.Op {
	case "put":
		change := &tablestore.PutRowChange{
			TableName: table, PrimaryKey: wanted.Key.in(), Condition: condition, ReturnType: returns,
			TransactionId: wanted.Transaction,
		}
		for _, cell := range wanted.Cells {
			if len(cell) == 2 {
				change.AddColumn(textOf(cell[0]), valueIn(cell[1]))
			} else {
				change.AddColumnWithTimestamp(textOf(cell[0]), valueIn(cell[1]), number(cell[2]))
			}
		}
		return change, nil
	case "update":
		change := &tablestore.UpdateRowChange{
			TableName: table, PrimaryKey: wanted.Key.in(), Condition: condition, ReturnType: returns,
			ColumnNamesToReturn: wanted.ReturnColumns, TransactionId: wanted.Transaction,
		}
		for _, part := range wanted.Changes {
			name := textOf(part[1])
			switch kind := textOf(part[0]); {
			case kind == "put" && len(part) == 3:
				change.PutColumn(name, valueIn(part[2]))
			case kind == "put":
				change.PutColumnWithTimestamp(name, valueIn(part[2]), number(part[3]))
			case kind == "delete_version":
				change.DeleteColumnWithTimestamp(name, number(part[2]))
			case kind == "delete_column":
				change.DeleteColumn(name)
			default:
				step, err := strconv.ParseInt(textOf(part[2]), 10, 64)
				check(err)
				change.IncrementColumn(name, step)
			}
		}
		return change, nil
	case "delete":
		return &tablestore.DeleteRowChange{
			TableName: table, PrimaryKey: wanted.Key.in(), Condition: condition, TransactionId: wanted.Transaction,
		}, nil
	}
	return nil, unsupported(wanted.Op)
}

func number(raw json.RawMessage) (found int64) {
	check(json.Unmarshal(raw, &found))
	return found
}
