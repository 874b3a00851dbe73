//! Identifies the dialling server from the first message of its handshake, which the network reads.

use native_node::transport::handshake::Hello;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Upper bound for the bytes of a header or a first message.
const MAX_BYTES: usize = 16 << 10;

/// Forwards the handshake up to the dialer's first message. Returns the dialer's number and that
/// message, which is not forwarded yet; `None` if the dialer does not use the peer protocol.
pub(super) async fn introduce(
    dialer: &mut TcpStream,
    server: &mut TcpStream,
) -> Option<(usize, Vec<u8>)> {
    server.write_all(&header(dialer).await?).await.ok()?;
    dialer.write_all(&header(server).await?).await.ok()?;
    let mut frame = Vec::new();
    let payload = loop {
        if let Some(payload) = payload(&frame) {
            break payload;
        }
        more(dialer, &mut frame).await?;
    };
    let hello = Hello::decode(&payload).ok()?;
    Some((usize::try_from(hello.from.0).ok()?, frame))
}

/// Reads a complete header. Nothing follows it until the other side responds.
async fn header(from: &mut TcpStream) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        more(from, &mut bytes).await?;
    }
    Some(bytes)
}

async fn more(from: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<()> {
    let read = from.read_buf(bytes).await.ok()?;
    (read > 0 && bytes.len() <= MAX_BYTES).then_some(())
}

/// Returns the payload of a WebSocket client's first frame (RFC 6455, section 5.2), once it is
/// complete.
fn payload(frame: &[u8]) -> Option<Vec<u8>> {
    let (length, rest) = match usize::from(*frame.get(1)? & 0x7f) {
        126 => {
            let (length, rest) = frame.get(2..)?.split_first_chunk()?;
            (usize::from(u16::from_be_bytes(*length)), rest)
        }
        length => (length, frame.get(2..)?),
    };
    let (mask, masked) = rest.split_first_chunk::<4>()?;
    let masked = masked.get(..length)?;
    Some(masked.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect())
}
