//! The right order compiles: the other cases fail for what they say, not by accident.

use startup_gate::{Config, Startup, state};

async fn start(startup: Startup<u32, state::Load>) -> Result<(), startup_gate::StartError> {
    let startup = startup.load([], |_| async { Ok(()) }, |_, ()| async { Ok(()) }).await?;
    let startup = startup.check(async { Ok(()) }).await?;
    let startup = startup.elect(drop, |_| async { Ok(()) }).await?;
    let (serving, ()) = startup.listen(|_right| async { Ok(()) }).await?;
    let down = serving.drain(async {}).await.hand_over(async {}).await;
    down.close(async {}).await.flush(async {}).await.unload(async {}).await;
    Ok(())
}

fn main() {
    let startup = Startup::new(Config::default(), Vec::new()).expect("a good config");
    drop(start(startup));
}
