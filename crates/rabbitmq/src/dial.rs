//! Opens a connection and overhears the broker's greeting.
//!
//! lapin keeps the server's properties to itself, and a connection that only asks for them and leaves is a
//! warning in the broker's log. So lapin reads through a stream that listens until the greeting is over.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use async_rs::traits::{Executor, Reactor, RuntimeKit};
use async_rs::util::Task;
use async_rs::{Runtime, TokioRuntime};
use futures_io::{AsyncRead, AsyncWrite};
use futures_util::Stream;
use lapin::tcp::{AMQPUriTcpExt, AsyncTcpStream, OwnedTLSConfig};
use lapin::uri::AMQPUri;
use lapin::{Connection, ConnectionProperties};

use crate::version::{Greeting, Heard, Version};

/// Connects as lapin does. The version is `None` when the greeting doesn't tell it.
pub(crate) async fn dial(
    uri: AMQPUri,
    properties: ConnectionProperties,
    tls: OwnedTLSConfig,
) -> lapin::Result<(Connection, Option<Version>)> {
    let heard = Arc::new(Mutex::new(None));
    let kit = Kit(TokioRuntime::tokio_current());
    let listener = Arc::clone(&heard);
    let connect = async move |uri: AMQPUri, _: Runtime<Kit>| {
        let plain = TokioRuntime::tokio_current();
        let stream = uri.connect_with_config_async(tls.as_ref(), &plain).await?;
        let greeting = Some((Greeting::default(), Arc::clone(&listener)));
        Ok(AsyncTcpStream::Plain(Overheard { stream, greeting }))
    };
    let connection = Connection::connector(uri, Runtime::new(kit), connect, properties).await?;
    let version = heard.lock().unwrap_or_else(PoisonError::into_inner).take();
    Ok((connection, version))
}

type Transport = AsyncTcpStream<<TokioRuntime as Reactor>::TcpStream>;

/// A stream to the broker, TLS included, whose first frame is read along.
struct Overheard {
    stream: Transport,
    greeting: Option<(Greeting, Arc<Mutex<Option<Version>>>)>,
}

impl Overheard {
    fn hear(&mut self, bytes: &[u8]) {
        let Some((greeting, listener)) = &mut self.greeting else { return };
        if let Heard::All(version) = greeting.hear(bytes) {
            *listener.lock().unwrap_or_else(PoisonError::into_inner) = version;
            self.greeting = None;
        }
    }
}

impl AsyncRead for Overheard {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let count = ready!(Pin::new(&mut this.stream).poll_read(cx, buffer))?;
        this.hear(&buffer[..count]);
        Poll::Ready(Ok(count))
    }

    fn poll_read_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        match (this.greeting.is_some(), buffers.iter_mut().find(|buffer| !buffer.is_empty())) {
            (true, Some(buffer)) => Pin::new(this).poll_read(cx, buffer),
            _ => Pin::new(&mut this.stream).poll_read_vectored(cx, buffers),
        }
    }
}

impl AsyncWrite for Overheard {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, buffer)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, buffers)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_close(cx)
    }
}

/// Tokio, with streams that are overheard: the type of a runtime's streams is part of lapin's transport.
#[derive(Debug, Clone)]
struct Kit(TokioRuntime);

impl RuntimeKit for Kit {}

impl Executor for Kit {
    type Task<T: Send + 'static> = <TokioRuntime as Executor>::Task<T>;

    fn block_on<T, F: Future<Output = T>>(&self, future: F) -> T {
        self.0.block_on(future)
    }

    fn spawn<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
        &self,
        future: F,
    ) -> Task<Self::Task<T>> {
        self.0.spawn(future)
    }

    fn spawn_blocking<T: Send + 'static, F: FnOnce() -> T + Send + 'static>(
        &self,
        work: F,
    ) -> Task<Self::Task<T>> {
        self.0.spawn_blocking(work)
    }
}

impl Reactor for Kit {
    type TcpStream = Overheard;
    type Sleep = <TokioRuntime as Reactor>::Sleep;

    fn register<H: io::Read + io::Write + Send + 'static>(
        &self,
        _socket: H,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
        // lapin registers no socket of its own when it is given a transport.
        Err::<Overheard, _>(io::ErrorKind::Unsupported.into())
    }

    fn sleep(&self, duration: Duration) -> Self::Sleep {
        self.0.sleep(duration)
    }

    fn interval(&self, duration: Duration) -> impl Stream<Item = Instant> + Send + 'static {
        self.0.interval(duration)
    }

    fn tcp_connect_addr(
        &self,
        address: SocketAddr,
    ) -> impl Future<Output = io::Result<Self::TcpStream>> + Send + 'static {
        let connecting = self.0.tcp_connect_addr(address);
        async { Ok(Overheard { stream: AsyncTcpStream::Plain(connecting.await?), greeting: None }) }
    }
}
