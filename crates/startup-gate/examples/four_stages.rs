//! The four stages and the way down, as short as they get.
use startup_gate::{Config, LoadTicket, Startup, UnitSpec};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let startup = Startup::new(Config::default(), Vec::new())?;
    let gate = startup.handle();
    let load = |ticket: LoadTicket<&'static str>| async move {
        let vote = ticket.log_readable()?; // from here on it may vote
        Ok(format!("the state of {}", vote.unit()))
    };
    let check = |_ticket, state: String| async move {
        assert!(!state.is_empty());
        Ok(())
    };
    let startup = startup.load(["users", "orders"].map(UnitSpec::new), load, check).await?;
    let startup = startup.check(async { Ok(()) }).await?; // is the whole node fit?
    let startup = startup.elect(|right| println!("{} leads", right.unit()), |_| async { Ok(()) });
    let (serving, port) = startup.await?.listen(|_right| async { Ok("the open port") }).await?;
    println!("{}", gate.report().critical_path);

    let down = serving.drain(async {}).await; // readiness is off, the port still serves
    let down = down.hand_over(async {}).await; // leaderships move away
    let down = down.close(async move { println!("closes {port}") }).await;
    let report = down.flush(async {}).await.unload(async {}).await;
    println!("{}", report.stage);
    Ok(())
}
