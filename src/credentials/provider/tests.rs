use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

use super::*;

/// Issues keys `key-1`, `key-2`, …, each with the lifetime that the script gives it; past the script it fails.
struct Scripted {
    lifetimes: Vec<i64>,
    issued: Arc<AtomicUsize>,
    go: Option<Arc<Notify>>,
}

#[async_trait]
impl Source for Scripted {
    async fn issue(&self) -> Result<Issued> {
        let number = self.issued.fetch_add(1, Ordering::SeqCst);
        if let Some(go) = &self.go {
            go.notified().await;
        }
        let Some(lifetime) = self.lifetimes.get(number) else {
            return Err(Error::new(Kind::Unavailable, "issue"));
        };
        let credentials = Credentials::new(format!("key-{}", number + 1), "hush", Some("token".into()));
        let expires = Some(later(Timestamp::now(), SignedDuration::from_secs(*lifetime)));
        Ok(Issued { credentials, expires })
    }
}

fn scripted(lifetimes: &[i64]) -> (CredentialsProvider, Arc<AtomicUsize>) {
    let issued = Arc::new(AtomicUsize::new(0));
    let source = Scripted { lifetimes: lifetimes.to_vec(), issued: issued.clone(), go: None };
    (CredentialsProvider::new(source), issued)
}

/// As if the pause between two requests to the source had gone by.
fn let_time_pass(provider: &CredentialsProvider) {
    let held = provider.held().unwrap();
    provider.hold(Held { refresh_at: held.refresh_at.map(|_| Timestamp::now()), ..held });
}

#[tokio::test]
async fn a_key_is_kept_until_five_minutes_before_it_expires() {
    let (provider, issued) = scripted(&[3600, 3600]);
    for _ in 0..3 {
        assert_eq!(provider.current().await.unwrap().access_key_id, "key-1");
    }
    assert_eq!(issued.load(Ordering::SeqCst), 1);
    let held = provider.held().unwrap();
    let ahead = held.issued.expires.unwrap().duration_since(held.refresh_at.unwrap());
    assert_eq!(ahead, REFRESH_BEFORE);
    let_time_pass(&provider);
    assert_eq!(provider.current().await.unwrap().access_key_id, "key-2");
}

#[tokio::test]
async fn a_failed_refresh_is_no_error_while_the_key_is_valid_and_one_after_it() {
    let (provider, issued) = scripted(&[60]);
    assert_eq!(provider.current().await.unwrap().access_key_id, "key-1");
    let_time_pass(&provider);
    assert_eq!(provider.current().await.unwrap().access_key_id, "key-1", "refused, but still valid");
    assert_eq!(provider.current().await.unwrap().access_key_id, "key-1");
    assert_eq!(issued.load(Ordering::SeqCst), 2, "the source is left alone for a while");

    let (provider, _) = scripted(&[0]);
    provider.current().await.unwrap();
    assert_eq!(provider.current().await.unwrap_err().kind(), Kind::Unavailable);
}

#[tokio::test]
async fn many_requests_make_one_refresh_and_wait_for_it_only_without_a_key() {
    let (issued, go) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
    let source = Scripted { lifetimes: vec![60, 3600], issued: issued.clone(), go: Some(go.clone()) };
    let provider = CredentialsProvider::new(source);
    let first = tokio::spawn({
        let provider = provider.clone();
        async move {
            let all = (0..20).map(|_| provider.current());
            futures::future::join_all(all).await
        }
    });
    go.notify_one();
    for key in first.await.unwrap() {
        assert_eq!(key.unwrap().access_key_id, "key-1");
    }
    assert_eq!(issued.load(Ordering::SeqCst), 1);

    let_time_pass(&provider);
    let refresh = tokio::spawn({
        let provider = provider.clone();
        async move { provider.current().await }
    });
    while issued.load(Ordering::SeqCst) < 2 {
        tokio::task::yield_now().await;
    }
    // The refresh hangs; everybody else goes on with the old key.
    assert_eq!(provider.current().await.unwrap().access_key_id, "key-1");
    go.notify_one();
    assert_eq!(refresh.await.unwrap().unwrap().access_key_id, "key-2");
    assert_eq!(
        (provider.current().await.unwrap().access_key_id.as_str(), issued.load(Ordering::SeqCst)),
        ("key-2", 2)
    );
}

#[tokio::test]
async fn a_refused_key_is_replaced_once_however_many_requests_were_refused() {
    let (provider, issued) = scripted(&[3600, 3600]);
    let refused = provider.current().await.unwrap();
    let (one, two) = tokio::join!(provider.replace(&refused), provider.replace(&refused));
    for replaced in [one, two] {
        assert_eq!(replaced.unwrap().unwrap().access_key_id, "key-2");
    }
    assert_eq!(issued.load(Ordering::SeqCst), 2);

    let fixed = CredentialsProvider::from(Credentials::new("id", "hush", None));
    let refused = fixed.current().await.unwrap();
    assert!(fixed.replace(&refused).await.unwrap().is_none(), "a fixed key has no successor");
}

#[tokio::test]
async fn a_key_that_no_header_can_carry_is_refused_without_showing_it() {
    let provider = CredentialsProvider::from(Credentials::new("id", "hush", Some("to\nken".into())));
    let error = provider.current().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Permission);
    assert!(!error.report().contains("ken\n") && !format!("{provider:?}").contains("hush"));
}
