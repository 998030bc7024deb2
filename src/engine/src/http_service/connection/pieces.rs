//! What a connection gives the driver of its response next.

use std::mem;

use super::super::answer::Response;
use super::super::shared::Shared;
use crate::driver::Piece;
use crate::limits;
use crate::tls::Stream;

/// A piece that the driver has.
#[derive(Debug)]
pub(super) struct Writing {
    /// Bytes on the wire.
    pub(super) wire: usize,
    /// Bytes before encryption.
    pub(super) plain: usize,
    /// Bytes of a body.
    pub(super) body: u64,
}

/// A head, or a part of the body straight from the map.
pub(super) fn plain_piece(response: &mut Response) -> (Piece, Writing) {
    if response.bytes.is_empty()
        && let Some((file, range)) = &mut response.file
    {
        let end = response.loaded.min(range.start + limits::HTTP_PIECE);
        let piece = range.start..end;
        range.start = end;
        let body = piece.end - piece.start;
        let length = usize::try_from(body).unwrap_or(usize::MAX);
        let writing = Writing {
            wire: length,
            plain: length,
            body,
        };
        return (Piece::Mapped(file.clone(), piece), writing);
    }
    let bytes = mem::take(&mut response.bytes);
    let writing = Writing {
        wire: bytes.len(),
        plain: bytes.len(),
        body: mem::take(&mut response.inlined),
    };
    (Piece::Owned(bytes), writing)
}

/// As much as a batch holds: the head, then the body, behind what TLS itself has to say.
pub(super) fn sealed_piece(
    response: &mut Response,
    tls: &mut Stream,
    shared: &mut Shared,
) -> (Piece, Writing) {
    let mut out = shared.buffer();
    tls.flush(&mut out);
    let room = shared.tls_batch();
    let head = room.min(response.bytes.len());
    let mut plain = 0;
    let mut body = 0;
    if head > 0 {
        tls.seal(&response.bytes[..head], &mut out);
        response.bytes.drain(..head);
        plain += head;
        if response.bytes.is_empty() {
            body += mem::take(&mut response.inlined);
            shared.give_back(mem::take(&mut response.bytes));
        }
    }
    if let Some((file, range)) = &mut response.file
        && range.start < range.end
        && plain < room
    {
        let room = u64::try_from(room - plain).unwrap_or(u64::MAX);
        let end = response.loaded.min(range.start.saturating_add(room));
        let content = file.content.range(range.start..end).unwrap_or_default();
        tls.seal(content, &mut out);
        plain += content.len();
        body += end - range.start;
        range.start = end;
    }
    let wire = out.len();
    if wire == 0 {
        shared.give_back(mem::take(&mut out));
    }
    (Piece::Owned(out), Writing { wire, plain, body })
}
