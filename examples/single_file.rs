//! A program in one file: the Python that runs in the context is part of the Rust source.
//!
//! `cargo run --example single_file [directory]`

use std::collections::BTreeMap;

use econtext::{Local, Router};

const SURVEY: &str = r#"
import os

def sizes(directory):
    """Return the bytes that the files below `directory` take, by the ending of their names."""
    totals = {}
    for folder, _, names in os.walk(directory):
        for name in names:
            ending = os.path.splitext(name)[1] or 'none'
            size = os.lstat(os.path.join(folder, name)).st_size
            totals[ending] = totals.get(ending, 0) + size
    print('looked through %s' % directory)
    return totals
"#;

fn main() -> econtext::Result<()> {
    let directory = std::env::args().nth(1).unwrap_or_else(|| ".".into());
    let router = Router::new()?;
    router.modules().source("survey", SURVEY);
    let context = router.connect(Local::new())?;
    let sizes: BTreeMap<String, u64> = context.call("survey:sizes", (directory,))?;
    for (ending, bytes) in sizes {
        println!("{bytes:>12} {ending}");
    }
    router.shutdown()
}
