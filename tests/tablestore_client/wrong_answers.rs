//! Answers that are damaged, cut, too large or contradict themselves are never taken for an answer.

use super::*;

fn page(next: Option<KeyPart>) -> proto::GetRangeResponse {
    proto::GetRangeResponse {
        next_start_primary_key: next.map(|part| encode_key(&["k"], &PrimaryKey(vec![part])).into()),
        ..Default::default()
    }
}

#[tokio::test]
async fn an_answer_without_its_required_fields_is_never_an_empty_page() {
    let whole = range_of_k(KeyPart::InfMin, KeyPart::InfMax);
    let consumed_alone = vector("responses", "put_row_ok");
    for body in [vec![], consumed_alone, b"\xff\xff".to_vec()] {
        let server = ScriptedServer::start([Reply::Ok(body.clone())]);
        let error = client(&server).get_range(&whole).await.unwrap_err();
        assert_eq!((error.kind(), server.seen().len()), (Kind::Corrupt, 5), "{body:?}: {error}");
        assert_eq!(error.service_request_id(), Some("id-7"));
    }
}

#[tokio::test]
async fn an_answer_that_ends_with_its_connection_needs_an_md5() {
    let body = vector("responses", "get_range_two_rows_more");
    let mut head = b"HTTP/1.1 200 X\r\nx-ots-requestid: 1\r\n\r\n".to_vec();
    // Cut before the next key: without this check the scan would end here.
    head.extend(&body[..body.len() - 29]);
    for way in WAYS {
        let server = ScriptedServer::start([Reply::Raw(head.clone())]);
        let whole = range_of_k(KeyPart::InfMin, KeyPart::InfMax);
        let error = way.client(&server).get_range(&whole).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt);
        assert!(error.to_string().contains("no MD5"), "{way:?}: {error}");
    }
}

#[tokio::test]
async fn a_wrong_md5_is_noticed_and_given_up_after_a_few_attempts() {
    let server = ScriptedServer::start([Reply::WrongMd5(vector("responses", "list_table"))]);
    let error = client(&server).list_tables().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt);
    assert_eq!(server.seen().len(), 5);
}

#[tokio::test]
async fn the_md5_of_a_page_that_says_where_the_next_one_starts_is_checked_only_when_asked() {
    let server = ScriptedServer::start([Reply::WrongMd5(vector("responses", "get_range_two_rows_more"))]);
    let whole = range_of_k(KeyPart::InfMin, KeyPart::InfMax);
    assert!(client(&server).get_range(&whole).await.is_ok());
    let strict = TableStoreConfig { verify_response_md5: true, ..config(&server.url()) };
    let error = TableStore::new(strict).unwrap().get_range(&whole).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt);
}

#[tokio::test]
async fn an_answer_without_an_md5_is_refused_when_asked_to_be_strict() {
    let body = vector("responses", "list_table");
    let head = format!("HTTP/1.1 200 X\r\nx-ots-requestid: 1\r\ncontent-length: {}\r\n\r\n", body.len());
    let server = ScriptedServer::start([Reply::Raw([head.as_bytes(), &body].concat())]);
    assert!(client(&server).list_tables().await.is_ok());
    let strict = TableStoreConfig { verify_response_md5: true, ..config(&server.url()) };
    let error = TableStore::new(strict).unwrap().list_tables().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt);
    assert!(error.to_string().contains("no MD5"), "{error}");
}

#[tokio::test]
async fn an_answer_beyond_the_cap_is_refused_before_it_is_read() {
    let big = b"HTTP/1.1 200 X\r\nx-ots-requestid: 1\r\ncontent-length: 99999999999999\r\n\r\nx".to_vec();
    let mut chunked = b"HTTP/1.1 200 X\r\nx-ots-requestid: 1\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..10 {
        chunked.extend(b"400\r\n");
        chunked.extend([0; 0x400]);
        chunked.extend(b"\r\n");
    }
    for (reply, way) in [&big, &chunked].into_iter().flat_map(|reply| WAYS.map(|way| (reply, way))) {
        let server = ScriptedServer::start([Reply::Raw(reply.clone())]);
        let config = TableStoreConfig { max_response_bytes: 4096, ..way.config(&server) };
        let error = TableStore::new(config).unwrap().list_tables().await.unwrap_err();
        assert_eq!(
            (error.kind(), error.service_request_id()),
            (Kind::Corrupt, Some("1")),
            "{way:?}: {error}"
        );
        assert_eq!(server.seen().len(), 1);
    }
}

#[tokio::test]
async fn a_next_key_that_does_not_lead_on_stops_the_scan() {
    let forward = range_of_k(text("c"), text("m"));
    let backward = RangeRequest { direction: Direction::Backward, ..range_of_k(text("m"), text("c")) };
    let cases = [
        (&forward, text("c"), "repeats its next key"),
        (&forward, text("b"), "outside the range"),
        (&forward, text("m"), "outside the range"),
        (&forward, KeyPart::InfMax, "outside the range"),
        (&backward, text("m"), "repeats its next key"),
        (&backward, text("c"), "outside the range"),
        (&backward, text("n"), "outside the range"),
    ];
    for (request, next, expected) in cases {
        let server = ScriptedServer::start([Reply::message(&page(Some(next.clone())))]);
        let error = client(&server).get_range(request).await.unwrap_err();
        assert_eq!((error.kind(), server.seen().len()), (Kind::Corrupt, 5), "{next:?}");
        assert!(error.report().contains(expected), "{next:?}: {}", error.report());
    }
    for request in [&forward, &backward] {
        let server = ScriptedServer::start([Reply::message(&page(Some(text("d"))))]);
        let page = client(&server).get_range(request).await.unwrap();
        assert_eq!(page.next_start, Some(PrimaryKey(vec![text("d")])));
    }
    let mut other_column = page(None);
    other_column.next_start_primary_key = Some(encode_key(&["x"], &PrimaryKey(vec![text("d")])).into());
    let server = ScriptedServer::start([Reply::message(&other_column)]);
    assert_eq!(client(&server).get_range(&forward).await.unwrap_err().kind(), Kind::Corrupt);
}

#[tokio::test]
async fn split_points_that_contradict_themselves_are_refused() {
    use proto::compute_split_points_by_size_response::SplitLocation;
    let answer = |points: &[&str], repeats: &[i64]| proto::ComputeSplitPointsBySizeResponse {
        schema: vec![proto::PrimaryKeySchema {
            name: "k".into(),
            r#type: proto::PrimaryKeyType::String.into(),
            option: None,
        }],
        split_points: points
            .iter()
            .map(|point| encode_key(&["k"], &PrimaryKey(vec![text(point)])).into())
            .collect(),
        locations: repeats
            .iter()
            .map(|repeat| SplitLocation { location: "x".into(), repeat: *repeat })
            .collect(),
        ..Default::default()
    };
    let cases = [
        (answer(&["b", "a"], &[]), "not ascending"),
        (answer(&["a", "a"], &[]), "not ascending"),
        (answer(&["a"], &[i64::MAX]), "more locations"),
        (answer(&["a"], &[-1]), "more locations"),
        (answer(&["a"], &[1]), "fewer locations"),
    ];
    for (message, expected) in cases {
        let server = ScriptedServer::start([Reply::message(&message)]);
        let error = client(&server).compute_split_points_by_size("t", 1, None, None).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt);
        assert!(error.report().contains(expected), "{}", error.report());
    }
    let server = ScriptedServer::start([Reply::message(&answer(&["a", "b"], &[1, 2]))]);
    let good = client(&server).compute_split_points_by_size("t", 1, None, None).await.unwrap();
    assert_eq!(good.locations, ["x", "x", "x"]);
}
