//! What `build.rs` made out of `bootstrap/`.

include!(concat!(env!("OUT_DIR"), "/bootstrap.rs"));
