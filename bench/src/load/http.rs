//! A minimal HTTP/1.1 client that still reads every response. It is cheap because the load
//! generator shares the machine with the servers.

use std::io::{Error, ErrorKind, Result};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Maximum number of response headers; our servers send fewer.
const MAX_HEADERS: usize = 32;

/// A connection that carries one request at a time.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// Number of bytes in the buffer.
    filled: usize,
}

/// An HTTP response.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// The status code.
    pub status: u16,
    /// The body.
    pub body: &'a [u8],
}

impl Connection {
    /// Connects to `host:port`.
    pub async fn open(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: vec![0; 4096], filled: 0 })
    }

    /// Sends a complete request and reads the complete response.
    ///
    /// # Errors
    /// When the connection breaks, the response is not HTTP, or its `content-length` is not a
    /// number.
    pub async fn exchange(&mut self, request: &[u8]) -> Result<Answer<'_>> {
        self.stream.write_all(request).await?;
        self.filled = 0;
        loop {
            if let Some((status, head, length)) = parse(&self.buffer[..self.filled])? {
                self.read_until(head + length).await?;
                return Ok(Answer { status, body: &self.buffer[head..head + length] });
            }
            self.read_until(self.filled + 1).await?;
        }
    }

    async fn read_until(&mut self, enough: usize) -> Result<()> {
        if enough > self.buffer.len() {
            self.buffer.resize(enough.next_power_of_two(), 0);
        }
        while self.filled < enough {
            let read = self.stream.read(&mut self.buffer[self.filled..]).await?;
            if read == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            self.filled += read;
        }
        Ok(())
    }
}

/// Returns status, head length and body length once the head is complete.
fn parse(bytes: &[u8]) -> Result<Option<(u16, usize, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let bad = |what: &str| Error::new(ErrorKind::InvalidData, what.to_owned());
    let httparse::Status::Complete(head) =
        response.parse(bytes).map_err(|error| bad(&error.to_string()))?
    else {
        return Ok(None);
    };
    let length = response.headers.iter().find(|it| it.name.eq_ignore_ascii_case("content-length"));
    let length = match length {
        Some(header) => std::str::from_utf8(header.value).ok().and_then(|text| text.parse().ok()),
        None => Some(0),
    };
    let status = response.code.ok_or_else(|| bad("no status"))?;
    Ok(Some((status, head, length.ok_or_else(|| bad("a content-length that is not a number"))?)))
}

/// Encodes a request, with a body unless it is GET.
pub fn request(method: &str, path: &str, body: &[u8]) -> Vec<u8> {
    let head = if method == "GET" {
        format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n\r\n")
    } else {
        let length = body.len();
        format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n")
    };
    [head.as_bytes(), body].concat()
}

#[cfg(test)]
mod tests {
    use super::parse;

    /// Guards that a response is parsed only when its head is complete.
    #[test]
    fn an_answer_is_parsed_when_its_head_is_whole() {
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
        let head = whole.len() - 5;
        for end in 0..head {
            assert!(parse(&whole[..end]).expect("it may still come").is_none(), "{end}");
        }
        assert_eq!(parse(whole).expect("it is HTTP"), Some((200, head, 5)));
        assert!(parse(b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n").is_err());
        assert!(parse(b"SSH-2.0 hello\r\n").is_err());
    }
}
