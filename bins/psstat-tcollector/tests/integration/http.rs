//! A minimal HTTP client for the stores.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};

use serde_json::Value;

/// The status and the body of a response.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) body: String,
}

pub(crate) fn get(port: u16, path: &str) -> std::io::Result<Response> {
    request(port, &format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n"))
}

/// The body of a successful response.
pub(crate) fn get_ok(port: u16, path: &str) -> String {
    let response = get(port, path).unwrap();
    assert_eq!(response.status, 200, "{response:?}");
    response.body
}

/// The body of a successful response, as JSON.
pub(crate) fn get_json(port: u16, path: &str) -> Value {
    serde_json::from_str(&get_ok(port, path)).unwrap()
}

pub(crate) fn post(port: u16, path: &str, body: &str) -> std::io::Result<Response> {
    let head = format!(
        "POST {path} HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    request(port, &(head + body))
}

/// HTTP/1.0, so that the body ends with the connection.
fn request(port: u16, request: &str) -> std::io::Result<Response> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(crate::common::TIMEOUT))?;
    stream.write_all(request.as_bytes())?;
    let mut response = String::new();
    stream.read_to_string(&mut response)?;
    let invalid = || std::io::Error::other(format!("not an HTTP response: {response:?}"));
    let (head, body) = response.split_once("\r\n\r\n").ok_or_else(invalid)?;
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).ok_or_else(invalid)?;
    Ok(Response { status, body: body.to_owned() })
}

/// Encodes a query for a URL.
pub(crate) fn url_encode(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
