//! Compiles `datanode/v1/*.proto` with protox, so that no protoc is needed.

use std::path::PathBuf;

use prost::Message;

const FILES: [&str; 6] = ["extent", "node", "partition", "peer", "route", "stage"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=datanode");
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    let files = FILES.map(|name| format!("datanode/v1/{name}.proto"));
    let descriptors = protox::compile(files, ["."])?;
    std::fs::write(out.join("datanode.v1.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().bytes(".datanode.v1").compile_fds(descriptors)?;
    Ok(())
}
