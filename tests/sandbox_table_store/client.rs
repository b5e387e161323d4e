//! The smallest client that the sandbox lets in: signs with v2, checks digest and signature of every answer.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, Mac};
use md5::{Digest, Md5};
use otsvault::model::{Cell, PrimaryKey, PrimaryKeyValue, Row};
use otsvault::sandbox::{Sandbox, SandboxDescription, SandboxOptions};
use otsvault::{plainbuffer, proto};
use prost::Message;
use sha1::Sha1;

/// A key to a sandbox, wherever it runs.
pub struct Caller {
    about: SandboxDescription,
    http: reqwest::Client,
}

/// A sandbox and a key to it.
pub struct Client {
    pub sandbox: Sandbox,
    caller: Caller,
}

impl std::ops::Deref for Client {
    type Target = Caller;

    fn deref(&self) -> &Caller {
        &self.caller
    }
}

/// `400 OTSParameterInvalid text`.
pub type Refusal = String;

pub fn md5_base64(body: &[u8]) -> String {
    BASE64.encode(Md5::digest(body))
}

pub fn hmac_sha1(secret: &str, text: &str) -> String {
    let mut mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(text.as_bytes());
    BASE64.encode(mac.finalize().into_bytes())
}

impl Client {
    pub async fn new(options: SandboxOptions) -> Client {
        let sandbox = Sandbox::start(options).await.unwrap();
        Client { caller: Caller::new(sandbox.description().clone()), sandbox }
    }
}

impl Caller {
    pub fn new(about: SandboxDescription) -> Caller {
        Caller { about, http: reqwest::Client::builder().no_proxy().build().unwrap() }
    }

    /// Sends a request as it is; `Err` holds what went wrong below HTTP.
    pub async fn send(
        &self,
        operation: &str,
        body: Vec<u8>,
        secret: &str,
    ) -> Result<(u16, reqwest::header::HeaderMap, Vec<u8>), reqwest::Error> {
        self.send_with(operation, body, secret, &[]).await
    }

    /// As [`Caller::send`] with more `x-ots-*` headers.
    pub async fn send_with(
        &self,
        operation: &str,
        body: Vec<u8>,
        secret: &str,
        more: &[(&'static str, &str)],
    ) -> Result<(u16, reqwest::header::HeaderMap, Vec<u8>), reqwest::Error> {
        let about = &self.about;
        let mut headers = vec![
            ("x-ots-accesskeyid", about.access_key_id.clone()),
            ("x-ots-apiversion", "2015-12-31".to_owned()),
            ("x-ots-contentmd5", md5_base64(&body)),
            ("x-ots-date", jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.000Z").to_string()),
            ("x-ots-instancename", about.instance.clone()),
        ];
        headers.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
        headers.sort_unstable();
        let mut text = format!("/{operation}\nPOST\n\n");
        let mut request = self.http.post(format!("{}/{operation}", about.ots_endpoint));
        for (name, value) in headers {
            text.push_str(&format!("{name}:{value}\n"));
            request = request.header(name, value);
        }
        let response = request.header("x-ots-signature", hmac_sha1(secret, &text)).body(body).send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok((status, headers, response.bytes().await?.to_vec()))
    }

    /// Calls an operation and checks that the answer is signed as the service signs.
    pub async fn call<A: Message + Default>(
        &self,
        operation: &str,
        request: &impl Message,
    ) -> Result<A, Refusal> {
        let about = self.about.clone();
        let sent = self.send(operation, request.encode_to_vec(), &about.access_key_secret).await;
        let (status, headers, body) = sent.map_err(|error| format!("connection: {error}"))?;
        let header = |name: &str| headers[name].to_str().unwrap();
        let names = ["x-ots-contentmd5", "x-ots-contenttype", "x-ots-date", "x-ots-requestid"];
        let mut text: String = names.iter().map(|name| format!("{name}:{}\n", header(name))).collect();
        text.push_str(&format!("/{operation}"));
        let signature = hmac_sha1(&about.access_key_secret, &text);
        assert_eq!(header("authorization"), format!("OTS {}:{signature}", about.access_key_id));
        if header("x-ots-contentmd5") != md5_base64(&body) {
            return Err("wrong digest".to_owned());
        }
        match status {
            200 => Ok(A::decode(body.as_slice()).unwrap()),
            _ => {
                let error = proto::Error::decode(body.as_slice()).unwrap();
                Err(format!("{status} {} {}", error.code, error.message()))
            }
        }
    }

    pub async fn create(&self, request: &proto::CreateTableRequest) -> Result<(), Refusal> {
        self.call::<proto::CreateTableResponse>("CreateTable", request).await.map(drop)
    }

    pub async fn put(&self, table: &str, row: &Row<'_>) -> Result<proto::PutRowResponse, Refusal> {
        self.put_if(table, row, condition(proto::RowExistenceExpectation::Ignore)).await
    }

    pub async fn put_if(
        &self,
        table: &str,
        row: &Row<'_>,
        condition: proto::Condition,
    ) -> Result<proto::PutRowResponse, Refusal> {
        let return_content =
            proto::ReturnContent { return_type: Some(proto::ReturnType::RtPk as i32), ..Default::default() };
        let request = proto::PutRowRequest {
            table_name: table.to_owned(),
            row: plainbuffer::encode_row(row).into(),
            condition,
            return_content: Some(return_content),
            transaction_id: None,
        };
        self.call("PutRow", &request).await
    }

    pub async fn update(&self, table: &str, row: &Row<'_>) -> Result<(), Refusal> {
        let request = proto::UpdateRowRequest {
            table_name: table.to_owned(),
            row_change: plainbuffer::encode_row(row).into(),
            condition: condition(proto::RowExistenceExpectation::Ignore),
            ..Default::default()
        };
        self.call::<proto::UpdateRowResponse>("UpdateRow", &request).await.map(drop)
    }

    /// The cells of a row as text, every version; `None` without a row.
    pub async fn get(&self, table: &str, row: &Row<'_>) -> Result<Option<Vec<String>>, Refusal> {
        let key = Row { key: row.key.clone(), ..Row::default() };
        let request = proto::GetRowRequest {
            table_name: table.to_owned(),
            primary_key: plainbuffer::encode_row(&key).into(),
            max_versions: Some(i32::MAX),
            ..Default::default()
        };
        let answer: proto::GetRowResponse = self.call("GetRow", &request).await?;
        if answer.row.is_empty() {
            return Ok(None);
        }
        let mut row = Row::default();
        plainbuffer::decode_request_row(&answer.row, &mut row).unwrap();
        let show =
            |cell: &Cell<'_>| format!("{}@{}={:?}", cell.name, cell.timestamp.unwrap(), cell.value.unwrap());
        Ok(Some(row.cells.iter().map(show).collect()))
    }

    pub async fn batch(
        &self,
        request: &proto::BatchWriteRowRequest,
    ) -> Result<Vec<Result<(), String>>, Refusal> {
        let answer: proto::BatchWriteRowResponse = self.call("BatchWriteRow", request).await?;
        let rows = answer.tables.into_iter().flat_map(|table| table.rows);
        Ok(rows
            .map(|row| match row.error {
                None => Ok(()),
                Some(error) => Err(format!("{} {}", error.code, error.message())),
            })
            .collect())
    }

    pub async fn range(&self, request: &proto::GetRangeRequest) -> Result<proto::GetRangeResponse, Refusal> {
        self.call("GetRange", request).await
    }
}

pub fn condition(existence: proto::RowExistenceExpectation) -> proto::Condition {
    proto::Condition { row_existence: existence as i32, column_condition: None }
}

/// A table with the INTEGER key `id`.
pub fn table(name: &str, max_versions: i32) -> proto::CreateTableRequest {
    let column = key_column("id", proto::PrimaryKeyType::Integer);
    proto::CreateTableRequest {
        table_meta: proto::TableMeta {
            table_name: name.to_owned(),
            primary_key: vec![column],
            ..Default::default()
        },
        reserved_throughput: proto::ReservedThroughput {
            capacity_unit: proto::CapacityUnit { read: Some(0), write: Some(0) },
        },
        table_options: Some(proto::TableOptions {
            time_to_live: Some(-1),
            max_versions: Some(max_versions),
            ..Default::default()
        }),
        ..Default::default()
    }
}

pub fn key_column(name: &str, column_type: proto::PrimaryKeyType) -> proto::PrimaryKeySchema {
    proto::PrimaryKeySchema { name: name.to_owned(), r#type: column_type as i32, option: None }
}

pub fn row<'a>(id: i64, cells: &[Cell<'a>]) -> Row<'a> {
    Row { key: vec![("id", PrimaryKeyValue::Integer(id))], cells: cells.to_vec(), ..Row::default() }
}

/// The whole table, forwards, newest versions.
pub fn whole(table: &str, key: &[&str]) -> proto::GetRangeRequest {
    let bound = |key_bound: PrimaryKey| plainbuffer::encode_key(key, &key_bound).into();
    proto::GetRangeRequest {
        table_name: table.to_owned(),
        direction: proto::Direction::Forward as i32,
        max_versions: Some(i32::MAX),
        inclusive_start_primary_key: bound(PrimaryKey::inf_min(key.len())),
        exclusive_end_primary_key: bound(PrimaryKey::inf_max(key.len())),
        ..Default::default()
    }
}

pub fn puts(table: &str, rows: impl IntoIterator<Item = Vec<u8>>) -> proto::BatchWriteRowRequest {
    let rows = rows.into_iter().map(|row| proto::RowInBatchWriteRowRequest {
        r#type: proto::OperationType::Put as i32,
        row_change: row.into(),
        condition: condition(proto::RowExistenceExpectation::Ignore),
        return_content: None,
    });
    let table = proto::TableInBatchWriteRowRequest { table_name: table.to_owned(), rows: rows.collect() };
    proto::BatchWriteRowRequest { tables: vec![table], ..Default::default() }
}
