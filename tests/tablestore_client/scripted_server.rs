//! A server that answers each request with the next line of its script, right or wrong, and remembers what it was
//! asked. Raw TCP: a real HTTP server would refuse to misbehave.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use md5::{Digest, Md5};
use prost::Message;

/// One line of the script.
#[derive(Debug, Clone)]
pub enum Reply {
    /// 200 with this body and the headers of the service.
    Ok(Vec<u8>),
    /// 200 with this body, the headers of the service, and an MD5 of something else.
    WrongMd5(Vec<u8>),
    /// A protobuf error.
    Error(u16, &'static str, &'static str),
    /// Exactly these bytes, then the connection is closed.
    Raw(Vec<u8>),
    /// The connection is closed without an answer.
    Drop,
}

impl Reply {
    pub fn message(message: &impl Message) -> Reply {
        Reply::Ok(message.encode_to_vec())
    }

    /// A web server that is not Table Store.
    pub fn page(status: u16) -> Reply {
        let page = "<html>hello</html>";
        let head =
            format!("HTTP/1.1 {status} X\r\ncontent-type: text/html\r\ncontent-length: {}", page.len());
        Reply::Raw(format!("{head}\r\n\r\n{page}").into_bytes())
    }

    fn bytes(self) -> Option<Vec<u8>> {
        let answer = |status: u16, body: Vec<u8>, md5: String| {
            let mut bytes = format!(
                "HTTP/1.1 {status} X\r\nx-ots-requestid: id-7\r\nx-ots-contentmd5: {md5}\r\ncontent-length: {}\r\n\r\n",
                body.len()
            )
            .into_bytes();
            bytes.extend(body);
            bytes
        };
        let md5 = |body: &[u8]| base64::engine::general_purpose::STANDARD.encode(Md5::digest(body));
        match self {
            Reply::Ok(body) => Some(answer(200, body.clone(), md5(&body))),
            Reply::WrongMd5(body) => Some(answer(200, body, md5(b"something else"))),
            Reply::Error(status, code, message) => {
                let error = otsvault::proto::Error {
                    code: code.to_owned(),
                    message: Some(message.to_owned()),
                    access_denied_detail: None,
                };
                let body = error.encode_to_vec();
                Some(answer(status, body.clone(), md5(&body)))
            }
            Reply::Raw(bytes) => Some(bytes),
            Reply::Drop => None,
        }
    }
}

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Seen {
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

#[derive(Default)]
struct State {
    script: VecDeque<Reply>,
    last: Option<Reply>,
    seen: Vec<Seen>,
    connections: usize,
    stopped: bool,
}

pub struct ScriptedServer {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl ScriptedServer {
    /// The last reply is repeated for ever.
    pub fn start(script: impl IntoIterator<Item = Reply>) -> ScriptedServer {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State { script: script.into_iter().collect(), ..State::default() }));
        let shared = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut state = shared.lock().unwrap();
                if state.stopped {
                    break;
                }
                state.connections += 1;
                let shared = shared.clone();
                std::thread::spawn(move || stream.map(|stream| serve(stream, &shared)));
            }
        });
        ScriptedServer { address, state }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.state.lock().unwrap().seen.clone()
    }

    pub fn connections(&self) -> usize {
        self.state.lock().unwrap().connections
    }
}

impl Drop for ScriptedServer {
    fn drop(&mut self) {
        if let Ok(mut state) = self.state.lock() {
            state.stopped = true;
        }
        // Wakes the listener, which then ends.
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut stream = stream;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            match line.trim_end().split_once(": ") {
                Some((name, value)) => headers.push((name.to_lowercase(), value.to_owned())),
                None => break,
            }
        }
        let length = headers.iter().find(|(name, _)| name == "content-length");
        let length = length.and_then(|(_, value)| value.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let reply = {
            let mut state = state.lock().unwrap();
            state.seen.push(Seen { path, headers, body });
            if let Some(next) = state.script.pop_front() {
                state.last = Some(next);
            }
            state.last.clone()
        };
        let close = matches!(reply, None | Some(Reply::Raw(_)));
        match reply.and_then(Reply::bytes) {
            Some(bytes) => stream.write_all(&bytes)?,
            None => return Ok(()),
        }
        if close {
            return Ok(());
        }
    }
}
