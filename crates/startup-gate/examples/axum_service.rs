//! An axum service with two ports: the admin port answers from the first
//! moment (`/livez`, `/readyz`, `/startup`), the service's port opens last.
//! Looks at itself while it starts, then goes down and exits by itself.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use startup_gate::{Config, Handle, NodeFault, Report, ServeRight, Startup, UnitSpec};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

type Gate = Handle<u32>;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let startup = Startup::new(Config::default(), Vec::new())?;
    let gate = startup.handle();
    let admin = TcpListener::bind("127.0.0.1:0").await?;
    let admin_address = admin.local_addr()?;
    let _admin = tokio::spawn(axum::serve(admin, admin_routes(gate.clone())).into_future());
    let socket = TcpSocket::new_v4()?;
    socket.bind("127.0.0.1:0".parse()?)?;
    let address = socket.local_addr()?;

    let slow_load = |_ticket| async {
        sleep(Duration::from_millis(200)).await;
        Ok(())
    };
    let startup = startup.load((1..=8).map(UnitSpec::new), slow_load, |_, ()| async { Ok(()) });
    let look = async {
        let status = status(admin_address, "/readyz").await.map_err(NodeFault::new)?;
        println!("/readyz while it starts: {status}");
        Ok(())
    };
    let startup = startup.await?.check(look).await?;
    let startup = startup.elect(drop, |_| async { Ok(()) }).await?;
    let open = |right| async move { Port::open(socket, right) };
    let (serving, port) = startup.listen(open).await?;

    println!("/readyz when it serves: {}", status(admin_address, "/readyz").await?);
    println!("/ of the service: {}", status(address, "/").await?);
    println!("{}", gate.report().critical_path);

    let down = serving.drain(sleep(Duration::from_millis(10))).await;
    println!("/readyz while it drains: {}", status(admin_address, "/readyz").await?);
    let down = down.hand_over(async {}).await.close(port.close()).await;
    down.flush(async {}).await.unload(async {}).await;
    Ok(())
}

fn admin_routes(gate: Gate) -> Router {
    async fn readyz(State(gate): State<Gate>) -> (StatusCode, &'static str) {
        let ready = if gate.is_open() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        (ready, gate.stage().as_str())
    }
    async fn startup(State(gate): State<Gate>) -> Json<Report> {
        Json(gate.report())
    }
    Router::new()
        .route("/livez", get(|| async { "alive" }))
        .route("/readyz", get(readyz))
        .route("/startup", get(startup))
        .with_state(gate)
}

struct Port {
    server: JoinHandle<io::Result<()>>,
    closing: CancellationToken,
}

impl Port {
    fn open(socket: TcpSocket, _right: ServeRight) -> io::Result<Self> {
        let listener = socket.listen(128)?;
        let closing = CancellationToken::new();
        let routes = Router::new().route("/", get(|| async { "served" }));
        let server = axum::serve(listener, routes)
            .with_graceful_shutdown(closing.clone().cancelled_owned())
            .into_future();
        Ok(Self { server: tokio::spawn(server), closing })
    }

    async fn close(self) {
        self.closing.cancel();
        let _ = self.server.await;
    }
}

/// The status line that a path is answered with.
async fn status(address: SocketAddr, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer.lines().next().unwrap_or_default().to_owned())
}
