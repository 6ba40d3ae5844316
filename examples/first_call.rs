//! The first thing to try: a Python process of this machine, and some calls.
//!
//! `cargo run --example first_call [interpreter]`

use std::time::Duration;

use econtext::{Error, Local, Router};

fn main() -> econtext::Result<()> {
    let router = Router::new()?;
    let local = match std::env::args_os().nth(1) {
        Some(python) => Local::new().python(python),
        None => Local::new(),
    };
    let context = router.connect(local)?;
    let info = context.info()?;
    println!("{context}: {} {}, process {}", info.implementation, info.version, info.pid);

    // Any function that Python can import; the type says what is to become of the result.
    let pid: u32 = context.call("os:getpid", ())?;
    println!("os.getpid() gave {pid}");
    let joined: String = context.call("posixpath:join", ("/usr", "lib", "python"))?;
    println!("posixpath.join() gave {joined}");

    // Keyword arguments and a timeout: the builder.
    let text: String = context
        .function("json:dumps")
        .arg(vec![1, 2, 3])
        .kwarg("indent", 4)
        .timeout(Duration::from_secs(10))
        .call()?;
    println!("json.dumps() gave {text}");

    // What Python raises arrives whole, as a value.
    match context.call::<f64>("math:sqrt", (-1,)) {
        Err(Error::Call(error)) => {
            println!("math.sqrt() raised {}: {}", error.class, error.message)
        }
        other => println!("math.sqrt() gave {other:?}"),
    }
    router.shutdown()
}
