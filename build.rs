//! Compiles the Table Store messages with protox, so that a bare machine needs no protoc.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=schemas/table_store.proto");
    let descriptors = protox::compile(["schemas/table_store.proto"], ["schemas"])?;
    prost_build::Config::new()
        // Rows and keys stay slices of the response body: no copy.
        .bytes(["."])
        .compile_fds(descriptors)?;
    Ok(())
}
