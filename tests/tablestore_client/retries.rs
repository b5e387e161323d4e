//! What is sent again after which failure, and what is given up with which kind.

use super::*;

#[tokio::test]
async fn a_read_goes_on_after_lost_connections_busy_servers_and_damaged_answers() {
    let good = vector("responses", "list_table");
    let mut short = b"HTTP/1.1 200 X\r\nx-ots-requestid: 1\r\ncontent-length: 100\r\n\r\n".to_vec();
    short.extend(&good);
    let faults = [
        Reply::Drop,
        Reply::Error(403, "OTSNotEnoughCapacityUnit", "Remaining capacity unit is not enough."),
        Reply::Error(404, "OTSTableNotReady", "The table is not ready."),
        Reply::Error(503, "OTSPartitionUnavailable", "The partition is not available."),
        Reply::Error(503, "OTSTimeout", "Operation timeout."),
        Reply::Raw(b"HTTP/1.1 200 X\r\ncontent-le".to_vec()),
        Reply::Raw(short),
        Reply::Raw(b"garbage\r\n\r\n".to_vec()),
        Reply::page(502),
        Reply::WrongMd5(b"\xff\xff garbage".to_vec()),
    ];
    for (fault, way) in faults.iter().flat_map(|fault| WAYS.map(|way| (fault, way))) {
        let server = ScriptedServer::start([fault.clone(), Reply::Ok(good.clone())]);
        let tables = way.client(&server).list_tables().await;
        assert_eq!(tables.unwrap(), ["a", "b"], "{way:?} {fault:?}");
        assert_eq!(server.seen().len(), 2, "{way:?} {fault:?}");
    }
    let busy = Reply::Error(503, "OTSServerBusy", "Server is busy.");
    let server = ScriptedServer::start([busy.clone(), Reply::Drop, busy, Reply::Ok(good)]);
    let client = client(&server);
    assert!(client.list_tables().await.is_ok());
    let counters = client.counters();
    assert_eq!((counters.requests, counters.retries, counters.throttles, counters.answers), (4, 3, 2, 3));
    assert!(counters.response_bytes > 0);
}

#[tokio::test]
async fn a_write_is_repeated_after_a_timeout_only_if_it_is_idempotent() {
    let ok = Reply::Ok(vector("responses", "put_row_ok"));
    let timeout = Reply::Error(503, "OTSTimeout", "Operation timeout.");
    for (failure, way) in [&Reply::Drop, &timeout].into_iter().flat_map(|reply| WAYS.map(|way| (reply, way)))
    {
        let server = ScriptedServer::start([failure.clone(), ok.clone()]);
        let error = way.client(&server).put_row("t1", &row(put_cells())).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Unavailable);
        assert_eq!(server.seen().len(), 1);

        let server = ScriptedServer::start([failure.clone(), ok.clone()]);
        let change = RowChange::put(&row(put_cells())).idempotent();
        assert!(way.client(&server).write_row("t1", &change).await.is_ok());
        assert_eq!(server.seen().len(), 2);
    }
    // Busy means "not applied": any write is repeated.
    let server = ScriptedServer::start([Reply::Error(503, "OTSServerBusy", ""), ok]);
    assert!(client(&server).put_row("t1", &row(put_cells())).await.is_ok());
}

#[tokio::test]
async fn a_budget_that_is_used_up_says_throttled_and_names_everything() {
    let server = ScriptedServer::start([Reply::Error(503, "OTSServerBusy", "Server is busy.")]);
    let began = Instant::now();
    let error = impatient_client(&server).get_range(&range()).await.unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(10));
    assert_eq!(error.kind(), Kind::Throttled);
    let report = error.report();
    let first = "error: cannot read a page of table `t1`: OTSServerBusy: Server is busy. (request id id-7)";
    assert!(report.starts_with(first), "{report}");
    assert!(report.contains("hint: gave up after "), "{report}");
}

#[tokio::test]
async fn refusals_are_not_repeated_and_have_their_kind() {
    let cases = [
        (403, "OTSNoPermissionAccess", Kind::Permission),
        (404, "OTSObjectNotExist", Kind::NotFound),
        (409, "OTSObjectAlreadyExist", Kind::AlreadyExists),
        (400, "OTSParameterInvalid", Kind::Refused),
        (404, "OTSTrimmedDataAccess", Kind::Gap),
    ];
    for (status, code, kind) in cases {
        let server = ScriptedServer::start([Reply::Error(status, code, "no")]);
        let error = client(&server).describe_table("orders").await.unwrap_err();
        assert_eq!((error.kind(), server.seen().len()), (kind, 1), "{code}");
        let shown = error.to_string();
        assert!(shown.starts_with(&format!("cannot describe table `orders`: {code}: no")), "{shown}");
    }
}

#[tokio::test]
async fn a_request_that_may_have_been_damaged_on_its_way_is_sent_again_but_a_wrong_key_soon_given_up() {
    let mismatch = || Reply::Error(403, "OTSAuthFailed", "Signature mismatch.");
    let ok = Reply::message(&proto::PutRowResponse::default());
    let server = ScriptedServer::start([mismatch(), mismatch(), ok]);
    assert!(client(&server).put_row("t1", &row(put_cells())).await.is_ok(), "it was not applied");

    let server = ScriptedServer::start([mismatch()]);
    let began = Instant::now();
    let error = client(&server).describe_table("orders").await.unwrap_err();
    assert_eq!((error.kind(), server.seen().len()), (Kind::Permission, 3));
    assert!(began.elapsed() < Duration::from_secs(5));
    let shown = error.to_string();
    assert!(
        shown.starts_with("cannot describe table `orders`: OTSAuthFailed: Signature mismatch."),
        "{shown}"
    );
}

#[tokio::test]
async fn a_wrong_endpoint_is_named_at_once() {
    let empty_ok = b"HTTP/1.1 200 X\r\ncontent-length: 0\r\n\r\n".to_vec();
    let redirect = b"HTTP/1.1 301 X\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n".to_vec();
    let replies = [Reply::page(404), Reply::page(200), Reply::Raw(empty_ok), Reply::Raw(redirect)];
    for (reply, way) in replies.iter().flat_map(|reply| WAYS.map(|way| (reply, way))) {
        let server = ScriptedServer::start([reply.clone()]);
        let error = way.client(&server).list_tables().await.unwrap_err();
        assert_eq!((error.kind(), server.seen().len()), (Kind::Usage, 1), "{error}");
        assert!(error.report().contains(&server.url()), "{}", error.report());
    }
    for endpoint in ["", "host", "ftp://h", "http://h/path", "http://u:pw@h", "http://h?x"] {
        let error = TableStore::new(config(endpoint)).unwrap_err();
        assert_eq!(error.kind(), Kind::Usage, "{endpoint}");
        assert!(!error.report().contains("pw"), "{}", error.report());
    }
}

#[tokio::test]
async fn a_host_that_does_not_answer_is_unavailable_after_the_budget() {
    // Bound, so that no other test gets the port, and never listening, so that it is refused.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let endpoint = format!("http://{}", socket.local_addr().unwrap());
    let config = TableStoreConfig { retry_budget: Duration::from_millis(100), ..config(&endpoint) };
    let client = TableStore::new(config).unwrap();
    // Never sent, so even a write is repeated.
    let error = client.put_row("t1", &row(put_cells())).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(error.report().contains(&format!("no connection to `{endpoint}`")), "{}", error.report());
    assert!(client.counters().retries > 0);
}
