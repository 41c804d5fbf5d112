//! A connection under hyper: its input watched by [`Framing`], and closed so that the last answer arrives.
//!
//! A socket that is closed while bytes of the peer lie unread is reset by the kernel, and the reset overtakes the answer
//! on its way out: a sender that is told "too large" in the middle of its body would see a broken connection instead. So
//! after the writing half is shut, what still comes is read and thrown away, for a moment and no longer.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::framing::Framing;
use super::refused;

const LINGER: Duration = Duration::from_secs(1);

/// A TCP stream whose shutdown waits, up to a second, for the peer to finish too. When the whole server ends it does not
/// wait: idle peers, who need not notice before their next request, would hold up the end.
pub(super) struct Linger {
    stream: TcpStream,
    framing: Framing,
    hurry: CancellationToken,
    /// Set once our half is shut.
    patience: Option<BoxFuture<'static, ()>>,
}

impl Linger {
    pub(super) fn new(stream: TcpStream, hurry: CancellationToken) -> Self {
        Self { stream, framing: Framing::default(), hurry, patience: None }
    }

    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut scratch = [0_u8; 4096];
        loop {
            let mut buffer = ReadBuf::new(&mut scratch);
            match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {}
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl AsyncRead for Linger {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.framing.is_over() {
            // The end of the input, as far as hyper is concerned.
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        let kept = self.framing.pass(&mut buffer.filled_mut()[before..]);
        buffer.set_filled(before + kept);
        if self.framing.is_over() {
            refused("framing");
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Linger {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.patience.is_none() {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            let hurry = self.hurry.clone();
            self.patience = Some(Box::pin(async move {
                // Both ends of this wait mean the same.
                let _ = tokio::time::timeout(LINGER, hurry.cancelled()).await;
            }));
        }
        let ended = self.poll_discard(cx).is_ready();
        let over = self.patience.as_mut().is_none_or(|patience| patience.as_mut().poll(cx).is_ready());
        if ended || over { Poll::Ready(Ok(())) } else { Poll::Pending }
    }
}
