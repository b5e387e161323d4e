//! The way of every request: counted, checked for faults, authenticated, performed, answered.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{Method, StatusCode};
use jiff::{SignedDuration, Timestamp};

use super::address::Address;
use super::authentication::{Caller, Policy, check_anonymous};
use super::call::{Call, Core, Outcome};
use super::error::{Failure, OssError};
use super::operation::Operation;
use super::query::Query;
use super::s3::{self, Face};
use super::signature_v4::Covered;
use super::time;
use crate::sandbox::counters::InFlight;
use crate::sandbox::faults::{Action, Service};
use crate::sandbox::http::{Answer, Damage, Handler, Reply, Request};

/// Answers the requests of one server.
pub struct Front(pub(super) Arc<Core>);

impl Handler for Front {
    async fn handle(&self, request: &mut Request) -> Answer {
        self.0.answer(request).await
    }
}

impl Core {
    async fn answer(&self, request: &mut Request) -> Answer {
        let started = std::time::Instant::now();
        let host = request.header("host").unwrap_or_default().to_owned();
        let is_head = request.method == Method::HEAD;
        let request_id = format!("{:08X}{:016X}", rand::random::<u32>(), rand::random::<u64>());
        let address = Address::parse(&host, &request.path, &self.virtual_host_bases);
        let parsed = address.and_then(|address| Ok((address, Query::parse(&request.query)?)));
        let (operation, key) = match &parsed {
            Ok((address, query)) => {
                let operation = Operation::of(&request.method, address, query, &request.headers);
                (operation.name(), format!("{}/{}", address.bucket, address.key))
            }
            Err(_) => ("Malformed", String::new()),
        };
        let counted = self.counters.begin(Service::Oss, operation);
        let mut verdict = self.faults.verdict(Service::Oss, operation, &key);
        verdict.wait().await;
        if let Some(pace) = &verdict.pace {
            request.body.pace(pace.clone());
        }
        let action = verdict.action.take();
        let mut now = self.now();
        match &action {
            Some(Action::CorruptRequest { offset, xor }) => {
                request.body.damage(Damage::Flip { offset: *offset, xor: *xor });
            }
            Some(Action::TruncateRequest) => request.body.damage(Damage::Cut),
            Some(Action::ClockSkew(seconds)) => now = ahead(now, *seconds),
            Some(Action::ExpireToken) => {
                if let Some(token) = request.header("x-oss-security-token") {
                    self.keys.expire(token);
                }
            }
            _ => {}
        }
        let outcome = match &action {
            Some(Action::DropBefore) => Err(Failure::Gone),
            // There is nothing to cut: the request is lost as a whole.
            Some(Action::TruncateRequest) if !has_body(request) => Err(Failure::Gone),
            Some(Action::Error { status, code, message }) => {
                Err(OssError::new(*status, code, message).into())
            }
            Some(Action::ExpireToken) => Err(OssError::token_expired().into()),
            action => {
                let outcome = match parsed {
                    Ok((address, query)) => {
                        self.authenticated(request, address, query, host.clone(), now).await
                    }
                    Err(error) => Err(error.into()),
                };
                match action {
                    Some(Action::ErrorAfter { status, code, message }) if outcome.is_ok() => {
                        Err(OssError::new(*status, code, message).into())
                    }
                    _ => outcome,
                }
            }
        };
        counted.bytes_in(request.body.bytes_read());
        verdict.wait_to_answer(started).await;
        let reply = match outcome {
            Ok(reply) => reply,
            Err(Failure::Refused(error)) => {
                counted.failed();
                refusal(&error, &request_id, &host, is_head)
            }
            Err(Failure::Gone) => {
                counted.failed();
                return Answer::Drop;
            }
        };
        let mut reply = reply
            .with("server", "AliyunOSS")
            .with("date", time::http_date(now))
            .with("x-oss-request-id", &request_id)
            .with("x-oss-server-time", started.elapsed().as_millis().to_string());
        if s3::is_spoken_in(request) {
            reply = reply.with("x-amz-request-id", &request_id);
        }
        match action {
            Some(Action::DropAfter) => {
                counted.failed();
                return Answer::Drop;
            }
            Some(action) => reply = spoiled(reply, &action),
            None => {}
        }
        if !verdict.delay.is_zero() {
            reply = reply.with("x-oss-qos-delay-time", verdict.delay.as_millis().to_string());
        }
        if let Some(pace) = verdict.pace.take() {
            reply = Reply { body: reply.body.paced(pace), ..reply };
        }
        // A place under a limit is free once the last byte is gone.
        reply.body.hold(verdict);
        finish(reply, counted)
    }

    fn now(&self) -> Timestamp {
        ahead(Timestamp::now(), self.clock_offset_seconds.load(Ordering::Relaxed))
    }

    async fn authenticated(
        &self,
        request: &mut Request,
        address: Address,
        query: Query,
        host: String,
        now: Timestamp,
    ) -> Outcome {
        let policy = Policy { keys: &self.keys, region: &self.region, require_v4: self.require_v4, now };
        let covered = Covered {
            method: request.method.as_str(),
            raw_path: &request.path,
            bucket: &address.bucket,
            key: &address.key,
            query: &query,
            headers: &request.headers,
        };
        let (caller, face) = policy.authenticate(&covered)?;
        if caller == Caller::Anonymous {
            let acl = self.buckets.acl(&address.bucket);
            check_anonymous(acl.as_deref(), &request.method, !address.key.is_empty())?;
        }
        if address.path_style && self.refuse_path_style {
            let message =
                "The bucket you are attempting to access must be addressed using OSS third level domain.";
            return Err(OssError::new(403, "SecondLevelDomainForbidden", message).into());
        }
        let operation = Operation::of(&request.method, &address, &query, &request.headers);
        let if_none_match = face == Face::S3 && s3::to_oss(&request.method, &mut request.headers)?;
        let Address { bucket, key, .. } = address;
        let call = Call { request, bucket, key, query, host, now, face, if_none_match };
        let reply = self.perform(operation, call).await?;
        Ok(if face == Face::S3 { s3::from_oss(reply) } else { reply })
    }

    async fn perform(&self, operation: Operation, mut call: Call<'_>) -> Outcome {
        use Operation::*;
        match operation {
            ListBuckets => self.list_buckets(&call),
            PutBucket => self.put_bucket(&mut call).await,
            GetBucketInfo => self.get_bucket_info(&call),
            GetBucketLocation => self.get_bucket_location(&call),
            GetBucketAcl => self.get_bucket_acl(&call),
            PutBucketAcl => self.put_bucket_acl(&call),
            GetBucketStat => self.get_bucket_stat(&call),
            GetBucketVersioning => self.get_bucket_versioning(&call),
            PutBucketVersioning => self.put_bucket_versioning(&mut call).await,
            ListObjectVersions => self.list_object_versions(&call),
            InitiateBucketWorm => self.initiate_bucket_worm(&mut call).await,
            AbortBucketWorm => self.abort_bucket_worm(&call),
            CompleteBucketWorm => self.complete_bucket_worm(&call),
            ExtendBucketWorm => self.extend_bucket_worm(&mut call).await,
            GetBucketWorm => self.get_bucket_worm(&call),
            HeadBucket => self.head_bucket(&call),
            DeleteBucket => self.delete_bucket(&call),
            ListObjects => self.list_objects(&call),
            ListObjectsV2 => self.list_objects_v2(&call),
            ListMultipartUploads => self.list_multipart_uploads(&call),
            DeleteMultipleObjects => self.delete_multiple_objects(&mut call).await,
            PutObject => self.put_object(&mut call).await,
            GetObject => self.get_object(&call),
            HeadObject => self.head_object(&call),
            GetObjectMeta => self.get_object_meta(&call),
            DeleteObject => self.delete_object(&call),
            CopyObject => self.copy_object(&mut call).await,
            RestoreObject => self.restore_object(&mut call).await,
            AppendObject => self.append_object(&mut call).await,
            GetObjectTagging => self.get_object_tagging(&call),
            PutObjectTagging => self.put_object_tagging(&mut call).await,
            DeleteObjectTagging => self.delete_object_tagging(&call),
            GetObjectAcl => self.get_object_acl(&call),
            InitiateMultipartUpload => self.initiate_multipart_upload(&call),
            UploadPart => self.upload_part(&mut call).await,
            UploadPartCopy => self.upload_part_copy(&mut call).await,
            CompleteMultipartUpload => self.complete_multipart_upload(&mut call).await,
            AbortMultipartUpload => self.abort_multipart_upload(&call),
            ListParts => self.list_parts(&call),
            NotImplemented => Err(OssError::not_implemented("this operation").into()),
            MethodNotAllowed => Err(OssError::method_not_allowed().into()),
        }
    }
}

fn ahead(time: Timestamp, seconds: i64) -> Timestamp {
    time.saturating_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX)
}

fn has_body(request: &Request) -> bool {
    let length = request.header("content-length").and_then(|length| length.parse::<u64>().ok());
    length.is_some_and(|length| length > 0) || request.headers.contains_key("transfer-encoding")
}

fn refusal(error: &OssError, request_id: &str, host: &str, is_head: bool) -> Reply {
    let mut reply = Reply::new(error.status).with("x-oss-ec", error.error_code());
    for (name, value) in &error.headers {
        reply = reply.with(name, value);
    }
    if error.status == StatusCode::NOT_MODIFIED {
        return reply;
    }
    let document = error.to_xml(request_id, host);
    if is_head {
        // A HEAD has no body; SDKs read the error from here.
        return reply.with("x-oss-err", STANDARD.encode(document));
    }
    reply.with("content-type", "application/xml").with_body(document)
}

fn spoiled(reply: Reply, action: &Action) -> Reply {
    match action {
        Action::TruncateBody => {
            let half = reply.body.len() / 2;
            Reply { body: reply.body.cut_after(half), ..reply }
        }
        Action::CorruptBody { offset, xor } => Reply { body: reply.body.corrupt(*offset, *xor), ..reply },
        Action::WrongChecksum => {
            let checksum = reply.headers.get("x-oss-hash-crc64ecma").and_then(|value| value.to_str().ok());
            match checksum.and_then(|checksum| checksum.parse::<u64>().ok()) {
                Some(checksum) => reply.with("x-oss-hash-crc64ecma", (checksum ^ 1).to_string()),
                None => reply,
            }
        }
        _ => reply,
    }
}

fn finish(mut reply: Reply, counted: InFlight) -> Answer {
    counted.bytes_out(reply.body.len());
    reply.body.hold(counted);
    reply.into()
}
