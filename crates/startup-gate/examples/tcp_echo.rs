//! An echo server on plain TCP whose port is bound at once, so that a taken
//! port fails early, and listens last of all. Talks to itself, then goes down and
//! exits by itself.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use startup_gate::{Config, ServeRight, Startup, TracingObserver, UnitFault, UnitSpec};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let socket = TcpSocket::new_v4()?;
    socket.bind("127.0.0.1:0".parse()?)?;
    let address = socket.local_addr()?;

    let startup = Startup::new(Config::default(), vec![Arc::new(TracingObserver)])?;
    let gate = startup.handle();
    let startup = startup
        .load(
            ["greetings", "farewells"].map(UnitSpec::new),
            |ticket| async move {
                let progress = ticket.progress().clone();
                // Blocking work belongs on a blocking thread.
                let load = spawn_blocking(move || {
                    std::thread::sleep(Duration::from_millis(50));
                    progress.tick();
                });
                load.await.map_err(UnitFault::failed)
            },
            |_ticket, ()| async { Ok(()) },
        )
        .await?;
    let startup = startup.check(async { Ok(()) }).await?;
    let startup = startup.elect(drop, |_| async { Ok(()) }).await?;
    assert!(TcpStream::connect(address).await.is_err(), "nobody is served before its time");
    let open = |right| async move { Server::listen(socket, right) };
    let (serving, server) = startup.listen(open).await?;
    println!("{}", gate.report().critical_path);

    println!("echo: {}", ask(address, "hello").await?);

    let down = serving.drain(async {}).await.hand_over(async {}).await;
    let down = down.close(server.close()).await;
    assert!(TcpStream::connect(address).await.is_err(), "closed again");
    let report = down.flush(async {}).await.unload(async {}).await;
    println!("{}", report.stage);
    Ok(())
}

struct Server {
    accepting: JoinHandle<()>,
    closing: CancellationToken,
    connections: TaskTracker,
}

impl Server {
    /// Takes the right to serve: this cannot be called too early.
    fn listen(socket: TcpSocket, _right: ServeRight) -> io::Result<Self> {
        let listener = socket.listen(128)?;
        let (closing, connections) = (CancellationToken::new(), TaskTracker::new());
        let accepting = tokio::spawn(accept(listener, closing.clone(), connections.clone()));
        Ok(Self { accepting, closing, connections })
    }

    /// Finishes what is in flight.
    async fn close(self) {
        self.closing.cancel();
        let _ = self.accepting.await;
        self.connections.close();
        self.connections.wait().await;
    }
}

async fn accept(listener: TcpListener, closing: CancellationToken, connections: TaskTracker) {
    loop {
        let accepted = tokio::select! {
            () = closing.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        if let Ok((mut stream, _)) = accepted {
            connections.spawn(async move {
                let (mut read, mut write) = stream.split();
                let _ = copy(&mut read, &mut write).await;
            });
        }
    }
}

async fn ask(address: SocketAddr, words: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(words.as_bytes()).await?;
    stream.shutdown().await?;
    let mut echo = String::new();
    stream.read_to_string(&mut echo).await?;
    Ok(echo)
}
