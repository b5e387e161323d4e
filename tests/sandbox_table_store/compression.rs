use std::io::{Read as _, Write as _};

use otsvault::proto;
use otsvault::sandbox::SandboxOptions;
use prost::Message;

use crate::client::{Client, table, whole};

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

async fn refusal(client: &Client, body: Vec<u8>, headers: &[(&'static str, &str)]) -> String {
    let secret = client.sandbox.description().access_key_secret.clone();
    let (status, _, body) = client.send_with("CreateTable", body, &secret, headers).await.unwrap();
    let error = proto::Error::decode(body.as_slice()).unwrap();
    format!("{status} {} {}", error.code, error.message())
}

#[tokio::test]
async fn a_compressed_request_is_read_and_a_compressed_answer_is_given_when_asked_for() {
    let client = Client::new(SandboxOptions::default()).await;
    let secret = client.sandbox.description().access_key_secret.clone();
    let request = table("t", 1).encode_to_vec();
    let size = request.len().to_string();
    let headers = [("x-ots-request-compress-type", "deflate"), ("x-ots-request-compress-size", &size)];
    let (status, ..) = client.send_with("CreateTable", zlib(&request), &secret, &headers).await.unwrap();
    assert_eq!(status, 200);

    let asked = [("x-ots-response-compress-type", "deflate")];
    let range = whole("t", &["id"]).encode_to_vec();
    let (status, headers, body) = client.send_with("GetRange", range, &secret, &asked).await.unwrap();
    assert_eq!((status, &headers["x-ots-response-compress-type"]), (200, &"deflate".parse().unwrap()));
    let mut inflated = Vec::new();
    flate2::read::ZlibDecoder::new(body.as_slice()).read_to_end(&mut inflated).unwrap();
    assert_eq!(headers["x-ots-response-compress-size"], inflated.len().to_string());
    assert_eq!(headers["x-ots-contentmd5"], crate::client::md5_base64(&inflated));
    proto::GetRangeResponse::decode(inflated.as_slice()).unwrap();
    // An empty answer and a refusal come as they are.
    let (_, headers, _) = client.send_with("DropIndex", Vec::new(), &secret, &asked).await.unwrap();
    assert!(!headers.contains_key("x-ots-response-compress-type"));
}

#[tokio::test]
async fn a_body_that_is_not_what_its_headers_say_is_refused_before_it_grows() {
    let client = Client::new(SandboxOptions::default()).await;
    let request = table("t", 1).encode_to_vec();
    let kind = ("x-ots-request-compress-type", "deflate");
    let mismatch = "400 OTSParameterInvalid The request body does not match its compress type and size.";
    for (body, size) in [(zlib(&request), "1"), (zlib(&[0; 1 << 20]), "100"), (request.clone(), "100")] {
        let headers = [kind, ("x-ots-request-compress-size", size)];
        assert_eq!(refusal(&client, body, &headers).await, mismatch);
    }
    assert_eq!(
        refusal(&client, zlib(&request), &[kind]).await,
        "400 OTSParameterInvalid Missing header: x-ots-request-compress-size."
    );
    assert_eq!(
        refusal(&client, zlib(&request), &[kind, ("x-ots-request-compress-size", "9999999999")]).await,
        "413 OTSRequestBodyTooLarge The size of POST data is too large."
    );
    assert_eq!(
        refusal(&client, request, &[("x-ots-request-compress-type", "gzip")]).await,
        "400 OTSParameterInvalid Unsupported compress type: gzip."
    );
}
