//! One connection, and the certainty that it ends.
//!
//! lapin drives each connection by a thread of its own, which outlives the connection's handle: it waits for the
//! broker's answer to the handshake, or to `connection.close`, for as long as the socket is open. Against a peer that
//! has gone silent that is for ever, and one thread per attempt. So the socket is opened here, before lapin sees it, and
//! a second handle to it is kept, which shuts it down at the end.

use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd as _;
use std::sync::{Mutex, PoisonError};

use lapin::tcp::TLSConfig;
use lapin::types::LongString;
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{AsyncTcpStream, Connection, ConnectionProperties, ErrorKind};

pub(super) struct Line {
    pub(super) connection: Connection,
    /// After the connection, so that it is dropped after it.
    _socket: Socket,
}

/// Shuts the socket down for everybody when dropped.
struct Socket(TcpStream);

impl Drop for Socket {
    fn drop(&mut self) {
        // It may be closed already.
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

impl Line {
    /// Connects: name, TCP, TLS, AMQP. Takes as long as it takes; the caller's timeout drops it.
    pub(super) async fn open(uri: AMQPUri, name: &str) -> Result<Self, lapin::Error> {
        let runtime = lapin::runtime::default_runtime()?;
        let authority = &uri.authority;
        let addresses: Vec<_> = tokio::net::lookup_host((authority.host.as_str(), authority.port)).await?.collect();
        let stream = AsyncTcpStream::connect(&runtime, addresses).await?;
        let AsyncTcpStream::Plain(tcp) = &stream else {
            return Err(std::io::Error::other("a fresh connection is encrypted already").into());
        };
        tcp.get_ref().set_nodelay(true)?;
        let socket = Socket(TcpStream::from(tcp.get_ref().as_fd().try_clone_to_owned()?));
        let stream = match uri.scheme {
            AMQPScheme::AMQP => stream,
            AMQPScheme::AMQPS => stream.into_tls(&authority.host, TLSConfig::default()).await?,
        };

        // lapin asks for the stream once, because recovery is off.
        let stream = Mutex::new(Some(stream));
        let hand_over = async move |_uri, _runtime| {
            let stream = stream.lock().unwrap_or_else(PoisonError::into_inner).take();
            stream
                .ok_or_else(|| ErrorKind::IOError(std::io::Error::from(std::io::ErrorKind::NotConnected).into()).into())
        };
        let properties = ConnectionProperties::default().with_connection_name(LongString::from(name));
        let connection = Connection::connector(uri, runtime, hand_over, properties).await?;
        Ok(Self { connection, _socket: socket })
    }
}
