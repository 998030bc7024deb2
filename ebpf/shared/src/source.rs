//! Bytes that are looked at in place: a slice on the host, the frame itself in the kernel.

/// Bytes at places that are known while it runs. In the kernel each look is a bounds check that its
/// verifier understands, which slices are not.
pub trait Source {
    /// How many bytes there are.
    fn size(&self) -> usize;

    /// The bytes from `at` on; `None` unless all of them are there.
    fn array<const N: usize>(&self, at: usize) -> Option<[u8; N]>;

    /// One byte.
    #[inline]
    fn byte(&self, at: usize) -> Option<u8> {
        self.array(at).map(|[byte]| byte)
    }

    /// Two bytes as a number, most significant first.
    #[inline]
    fn number(&self, at: usize) -> Option<u16> {
        self.array(at).map(u16::from_be_bytes)
    }
}

impl Source for [u8] {
    fn size(&self) -> usize {
        self.len()
    }

    fn array<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.get(at..)?.first_chunk().copied()
    }
}

/// A part of a source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Where it begins.
    pub at: usize,
    /// Bytes in it.
    pub len: usize,
}
