//! Through a proxy, and to a server whose certificate an authority of the user's own has signed.
//!
//! `fixtures/tls` holds the certificate of that authority, and a certificate for `localhost` with its key; the authority's own
//! key is not kept. Both were made with OpenSSL and are valid until 2126.

#![cfg(feature = "sandbox")]

use std::path::Path as FilePath;
use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStoreExt;
use object_store::path::Path;
use otsvault::credentials::{CredentialChain, Credentials, Service, Source};
use otsvault::network::Network;
use otsvault::objectstore::{self, Addressing, StoreOptions, UploadStore, error_of};
use otsvault::sandbox::oss::{OssServer, OssServerOptions};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

async fn sandbox() -> OssServer {
    let access_keys = vec![Credentials::new("testak", "testsk", None)];
    let buckets = vec!["backups".to_owned()];
    OssServer::start(OssServerOptions { access_keys, buckets, ..Default::default() }).await.unwrap()
}

fn open(endpoint: String, network: Network) -> Arc<dyn UploadStore> {
    let options = StoreOptions {
        endpoint: Some(endpoint),
        region: Some("cn-hangzhou".into()),
        addressing: Addressing::Path,
        network,
        retry_budget: Duration::ZERO,
        ..Default::default()
    };
    let options = options.with_credentials(Credentials::new("testak", "testsk", None));
    objectstore::open("oss://backups", &options).unwrap().store
}

async fn puts_and_gets(store: &dyn UploadStore) {
    let at = Path::from("a");
    store.put(&at, "through".into()).await.unwrap();
    assert_eq!(store.get(&at).await.unwrap().bytes().await.unwrap(), "through");
}

#[tokio::test]
async fn requests_go_through_the_proxy_that_was_given() {
    let sandbox = sandbox().await;
    // A proxy is asked in absolute form; the sandbox takes that as it is. The name exists nowhere.
    let network = Network::default().with_proxy(&sandbox.endpoint()).unwrap();
    puts_and_gets(&*open("http://storage.invalid".to_owned(), network)).await;
    assert_eq!(sandbox.objects("backups", "").len(), 1);
}

/// Ends TLS and passes everything on, until the test is over.
async fn tls_in_front_of(endpoint: &str) -> String {
    let fixture =
        |name: &str| FilePath::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tls").join(name);
    let certificate = CertificateDer::from_pem_file(fixture("server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(fixture("server.key")).unwrap();
    // Named, because with feature `s3` there are two and none is the default.
    let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let behind = endpoint.replace("http://", "");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, behind) = (acceptor.clone(), behind.clone());
            tokio::spawn(async move {
                // A client that does not trust the certificate ends the handshake.
                let Ok(mut secured) = acceptor.accept(stream).await else { return };
                let mut plain = TcpStream::connect(behind).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut secured, &mut plain).await;
            });
        }
    });
    format!("https://localhost:{port}")
}

#[tokio::test]
async fn an_authority_of_the_users_own_is_trusted_when_it_is_given_and_only_then() {
    let sandbox = sandbox().await;
    let endpoint = tls_in_front_of(&sandbox.endpoint()).await;
    let refused = open(endpoint.clone(), Network::default()).put(&Path::from("a"), "x".into()).await;
    let report = error_of(refused.unwrap_err()).report();
    assert!(report.to_lowercase().contains("certificate"), "{report}");
    puts_and_gets(&*open(endpoint, with_authority())).await;
}

fn with_authority() -> Network {
    let authority = FilePath::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tls/ca.pem");
    Network::default().with_authorities(&authority).unwrap()
}

#[tokio::test]
async fn sts_too_may_have_a_certificate_of_an_authority_of_the_users_own() {
    let answer = r#"{"Credentials": {"AccessKeyId": "STS.1", "AccessKeySecret": "s", "SecurityToken": "t",
        "Expiration": "2126-01-01T00:00:00Z"}}"#;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let sts = axum::Router::new().fallback(move || async move { answer });
    tokio::spawn(async move { axum::serve(listener, sts).await });

    let directory = tempfile::tempdir().unwrap();
    let token_file = directory.path().join("token");
    std::fs::write(&token_file, "jwt").unwrap();
    let variables = [
        ("HOME", directory.path().display().to_string()),
        ("ALIBABA_CLOUD_ROLE_ARN", "acs:ram::1:role/backup".to_owned()),
        ("ALIBABA_CLOUD_OIDC_PROVIDER_ARN", "acs:ram::1:oidc-provider/ack".to_owned()),
        ("ALIBABA_CLOUD_OIDC_TOKEN_FILE", token_file.display().to_string()),
        ("OTSVAULT_STS_ENDPOINT", tls_in_front_of(&endpoint).await),
    ];
    let chain = || CredentialChain::new(Service::Oss).with_variables(variables.clone());
    let report = chain().issue().await.unwrap_err().report();
    assert!(report.to_lowercase().contains("certificate"), "{report}");
    let issued = chain().network(with_authority()).issue().await.unwrap();
    assert_eq!(issued.credentials.access_key_id, "STS.1");
}
