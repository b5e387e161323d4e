use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

struct Echo;

impl Handler for Echo {
    async fn handle(&self, request: &mut Request) -> Answer {
        match request.path.as_str() {
            "/drop" => return Answer::Drop,
            "/cut" => {
                return Reply::new(StatusCode::OK)
                    .with_body(Body::from(vec![b'x'; 100]).cut_after(40))
                    .into();
            }
            "/corrupt" => {
                return Reply::new(StatusCode::OK).with_body(Body::from("abc").corrupt(1, 1)).into();
            }
            "/unread" => return Reply::new(StatusCode::FORBIDDEN).into(),
            _ => {}
        }
        let mut seen = format!("{} {}?{} ", request.method, request.path, request.query).into_bytes();
        while let Ok(Some(piece)) = request.body.next().await {
            seen.extend_from_slice(&piece);
        }
        Reply::new(StatusCode::OK).with_body(seen).into()
    }
}

/// Sends raw bytes and returns everything up to the end of the connection.
async fn talk(server: &Server, sent: &str) -> String {
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    stream.write_all(sent.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn paths_and_queries_arrive_undecoded_and_connections_are_kept() {
    let server = Server::start(0, Arc::new(Echo)).await.unwrap();
    let two = "GET /a%2Fb?x=%20&y= HTTP/1.1\r\nhost: h\r\n\r\n\
               PUT /c HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi";
    let answer = talk(&server, two).await;
    assert!(answer.contains("GET /a%2Fb?x=%20&y= "), "{answer}");
    assert!(answer.ends_with("PUT /c? hi"), "{answer}");
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_waits_for_continue_is_told_only_when_the_body_is_read() {
    let server = Server::start(0, Arc::new(Echo)).await.unwrap();
    let head = "PUT /c HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\ncontent-length: 2\r\nconnection: close\r\n\r\n";
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut first = [0u8; 25];
    stream.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"hi").await.unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).await.unwrap();
    assert!(rest.ends_with("PUT /c? hi"), "{rest}");
    // Told that it must not use the connection again, too.
    let refused = talk(&server, &head.replace("/c", "/unread").replace("connection: close\r\n", "")).await;
    assert!(refused.starts_with("HTTP/1.1 403") && refused.contains("connection: close\r\n"), "{refused}");
}

#[tokio::test]
async fn connections_can_be_dropped_and_bodies_cut_or_damaged() {
    let server = Server::start(0, Arc::new(Echo)).await.unwrap();
    assert_eq!(talk(&server, "GET /drop HTTP/1.1\r\nhost: h\r\n\r\n").await, "");
    let cut = talk(&server, "GET /cut HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert!(cut.contains("content-length: 100\r\n"), "{cut}");
    assert_eq!(cut.split("\r\n\r\n").nth(1).unwrap().len(), 40);
    let damaged = talk(&server, "GET /corrupt HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n").await;
    assert!(damaged.ends_with("acc"), "{damaged}");
}

#[tokio::test]
async fn a_reply_reaches_a_client_whose_body_was_not_wanted() {
    let server = Server::start(0, Arc::new(Echo)).await.unwrap();
    let body = "z".repeat(4 << 20);
    let head = format!(
        "PUT /unread HTTP/1.1\r\nhost: h\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    let answer = talk(&server, &(head + &body)).await;
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
}

#[tokio::test]
async fn stopping_closes_idle_connections_and_frees_the_port() {
    let server = Server::start(0, Arc::new(Echo)).await.unwrap();
    let address = server.address();
    let mut idle = TcpStream::connect(address).await.unwrap();
    idle.write_all(b"GET /a HTTP/1.1\r\nhost: h\r\n\r\n").await.unwrap();
    let mut start = [0u8; 12];
    idle.read_exact(&mut start).await.unwrap();
    server.stop().await;
    let mut rest = Vec::new();
    let _ = idle.read_to_end(&mut rest).await;
    assert!(TcpStream::connect(address).await.is_err());
}
