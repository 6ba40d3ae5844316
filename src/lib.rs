//! Take control of machines that have nothing but an ssh server and a Python interpreter.
#![deny(missing_docs)]
#![deny(unsafe_code)]

mod context;
mod error;
#[allow(dead_code)]
mod mac;
#[allow(unsafe_code)]
#[allow(dead_code, unused_imports)]
mod sys;
mod value;
#[allow(dead_code, unused_imports)]
mod wire;

pub use context::Context;
pub use error::{CallError, ConnectError, Error, ExitStatus, Result, Stage};
pub use value::Value;
