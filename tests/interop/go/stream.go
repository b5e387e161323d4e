package main

import "github.com/aliyun/aliyun-tablestore-go-sdk/tablestore"

func listStreams(asked call) (interface{}, error) {
	found, err := client.ListStream(&tablestore.ListStreamRequest{TableName: &asked.Table})
	if err != nil {
		return nil, err
	}
	ids := []string{}
	for _, stream := range found.Streams {
		ids = append(ids, string(*stream.Id))
	}
	return ids, nil
}

func describeStream(asked call) (interface{}, error) {
	id := tablestore.StreamId(asked.StreamID)
	request := &tablestore.DescribeStreamRequest{StreamId: &id}
	if asked.Shard != "" {
		first := tablestore.ShardId(asked.Shard)
		request.InclusiveStartShardId = &first
	}
	if asked.Limit != 0 {
		request.ShardLimit = &asked.Limit
	}
	found, err := client.DescribeStream(request)
	if err != nil {
		return nil, err
	}
	shards := [][3]string{}
	for _, shard := range found.Shards {
		shards = append(shards, [3]string{text(shard.SelfShard), text(shard.FatherShard), text(shard.MotherShard)})
	}
	described := map[string]interface{}{
		"table": *found.TableName, "hours": found.ExpirationTime, "shards": shards, "next": text(found.NextShardId),
	}
	return described, nil
}

func text(id *tablestore.ShardId) string {
	if id == nil {
		return ""
	}
	return string(*id)
}

func shardIterator(asked call) (interface{}, error) {
	stream, shard := tablestore.StreamId(asked.StreamID), tablestore.ShardId(asked.Shard)
	request := &tablestore.GetShardIteratorRequest{StreamId: &stream, ShardId: &shard, Timestamp: asked.Timestamp}
	for {
		found, err := client.GetShardIterator(request)
		if err != nil {
			return nil, err
		}
		if found.Token == nil || *found.Token == "" {
			return string(*found.ShardIterator), nil
		}
		request.Token = found.Token
	}
}

func records(asked call) (interface{}, error) {
	iterator := tablestore.ShardIterator(asked.Iterator)
	request := &tablestore.GetStreamRecordRequest{ShardIterator: &iterator}
	if asked.Limit != 0 {
		request.Limit = &asked.Limit
	}
	found, err := client.GetStreamRecord(request)
	if err != nil {
		return nil, err
	}
	records := []map[string]interface{}{}
	for _, record := range found.Records {
		changes := [][]interface{}{}
		for _, column := range record.Columns {
			switch column.Type {
			case tablestore.RCT_Put:
				changes = append(changes, []interface{}{"put", *column.Name, valueOut(column.Value), *column.Timestamp})
			case tablestore.RCT_DeleteOneVersion:
				changes = append(changes, []interface{}{"delete_version", *column.Name, *column.Timestamp})
			default:
				changes = append(changes, []interface{}{"delete_column", *column.Name})
			}
		}
		records = append(records, map[string]interface{}{
			"type": []string{"put", "update", "delete"}[record.Type], "key": keyOut(*record.PrimaryKey), "changes": changes,
			"at": record.Info.Timestamp,
		})
	}
	var next interface{}
	if found.NextShardIterator != nil {
		next = string(*found.NextShardIterator)
	}
	return map[string]interface{}{"records": records, "next": next}, nil
}
