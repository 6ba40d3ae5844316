//! Makes what is sent to a child out of `bootstrap/`: names of locals shortened, minified, and compressed
//! as well as can be, once, here. What does not lex stops the build with its file and line.

use std::error::Error;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs};

use miniz_oxide::deflate::core::{
    CompressionStrategy, CompressorOxide, TDEFLFlush, TDEFLStatus, compress,
    create_comp_flags_from_zip_params,
};

#[path = "src/modules/lexer.rs"]
#[allow(dead_code)]
mod lexer;
#[path = "src/modules/minify.rs"]
mod minify;
#[path = "src/connect/refusal/rules.rs"]
#[allow(dead_code)]
mod refusals;
#[path = "src/connect/failure/rules.rs"]
#[allow(dead_code)]
mod rules;
#[path = "src/modules/shorten.rs"]
mod shorten;
#[path = "src/stage.rs"]
#[allow(dead_code)]
mod stage;
#[path = "src/bootstrap/texts.rs"]
mod texts;

use stage::Stage;

fn main() {
    // An error that main returns is shown with `Debug`; this one is to be read.
    if let Err(error) = run() {
        eprintln!("{error}");
        std::process::exit(1);
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    // The directories too, for files that come and go.
    for path in [
        "build.rs",
        "src/modules/lexer.rs",
        "src/modules/minify.rs",
        "src/modules/shorten.rs",
        "src/bootstrap/texts.rs",
        "src/connect/failure/rules.rs",
        "src/connect/refusal/rules.rs",
        "src/stage.rs",
        "bootstrap",
    ] {
        println!("cargo::rerun-if-changed={path}");
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    let first_stage = minified(Path::new("bootstrap/first_stage.py"))?;
    let core = minified(Path::new("bootstrap/econtext/core.py"))?;
    fs::write(out.join("core.z"), zlib(&core))?;

    fs::write(out.join("texts.z"), zlib(python_texts(&first_stage).as_bytes()))?;
    fs::write(out.join("rules.z"), zlib(python_rules().as_bytes()))?;

    let mut text = String::new();
    writeln!(text, "/// The first stage, minified.")?;
    writeln!(text, "pub(crate) const FIRST_STAGE: &str = {:?};", String::from_utf8(first_stage)?)?;
    writeln!(text, "/// `econtext.core`, minified: zlib of it.")?;
    writeln!(text, "pub(crate) const CORE: &[u8] = include_bytes!(\"core.z\");")?;
    writeln!(
        text,
        "/// The other modules of `econtext`: name, path to show, zlib of the minified source."
    )?;
    writeln!(text, "pub(crate) const MODULES: &[(&str, &str, &[u8])] = &[")?;
    for stem in modules()? {
        let shown = format!("bootstrap/econtext/{stem}.py");
        let packed = format!("{stem}.z");
        fs::write(out.join(&packed), zlib(&minified(Path::new(&shown))?))?;
        writeln!(text, "    (\"econtext.{stem}\", {shown:?}, include_bytes!({packed:?})),")?;
    }
    for (name, shown) in
        [("rules", "src/connect/failure/rules.rs"), ("texts", "src/bootstrap/texts.rs")]
    {
        writeln!(text, "    (\"econtext.{name}\", {shown:?}, include_bytes!(\"{name}.z\")),")?;
    }
    writeln!(text, "];")?;
    fs::write(out.join("bootstrap.rs"), text)?;
    Ok(())
}

/// The module `econtext.texts`: the words of a launch as bytes of Python, by the names that they have in Rust.
fn python_texts(first_stage: &[u8]) -> String {
    let literal = |bytes: &[u8]| format!("b\"{}\"", bytes.escape_ascii());
    let tuple = |parts: Vec<String>| format!("({},)", parts.join(","));
    let words = |words: &[&str]| tuple(words.iter().map(|it| literal(it.as_bytes())).collect());
    let pairs =
        |pairs: &[(&str, &str)]| tuple(pairs.iter().map(|(name, it)| words(&[name, it])).collect());
    let constants = [
        ("FIRST_STAGE", literal(first_stage)),
        ("CANDIDATES", words(&texts::CANDIDATES)),
        ("LOADER", literal(texts::LOADER.as_bytes())),
        ("READ", literal(texts::READ.as_bytes())),
        ("READ_PADDED", literal(texts::READ_PADDED.as_bytes())),
        ("SEARCH", literal(texts::SEARCH.as_bytes())),
        ("HEAD", literal(texts::HEAD.as_bytes())),
        ("SSH_OPTIONS", pairs(&texts::SSH_OPTIONS)),
        ("SSH_ENVIRONMENT", pairs(&texts::SSH_ENVIRONMENT)),
    ];
    constants.map(|(name, value)| format!("{name}={value}\n")).concat()
}

/// The module `econtext.rules`: what the words of ssh, sudo and their kin mean, as text of Python. A stage is its
/// place in `STAGES`.
fn python_rules() -> String {
    let stages = [
        Stage::Parent,
        Stage::Spawn,
        Stage::Connect,
        Stage::HostKey,
        Stage::Login,
        Stage::Python,
        Stage::Core,
        Stage::Hello,
    ];
    let words = |words: &[&str]| -> String {
        // Escapes of others are not the same in both languages.
        assert!(words.iter().all(|it| it.is_ascii()), "not ASCII: {words:?}");
        let words = words.iter().map(|it| format!("u\"{}\",", for_python(it).escape_default()));
        format!("({})", words.collect::<String>())
    };
    let table = |rules: &[rules::Rule]| -> String {
        let rules = rules.iter().map(|it| {
            let text = words(&[it.pattern, it.what, it.advice]);
            format!("({},{text},{}),", it.stage as u32, u32::from(it.retry))
        });
        format!("({})", rules.collect::<String>())
    };
    let refusals = refusals::RULES.iter().map(|(pattern, what, advice)| {
        let retry = [refusals::WANTS_ANSWER, refusals::WANTS_TERMINAL].contains(what);
        format!("({},{}),", words(&[pattern, what, advice]), u32::from(retry))
    });
    let constants = [
        ("STAGES", words(&stages.map(|it| it.to_string()).each_ref().map(|it| it.as_str()))),
        ("SSH", table(rules::SSH)),
        ("ENDINGS", table(rules::ENDINGS)),
        ("LOST", table(rules::LOST)),
        ("SHELL", table(rules::SHELL)),
        ("LOGGED_IN", words(rules::LOGGED_IN)),
        ("CHATTER", words(rules::CHATTER)),
        ("NOISE", words(rules::NOISE)),
        ("EXCHANGE", words(rules::EXCHANGE)),
        ("KEY_TROUBLE", words(rules::KEY_TROUBLE)),
        ("MISSING", words(rules::MISSING)),
        ("REFUSALS", format!("({})", refusals.collect::<String>())),
        ("EPILOGUES", words(refusals::EPILOGUES)),
    ];
    constants.map(|(name, value)| format!("{name}={value}\n")).concat()
}

/// What an error advises to a program, and the same for code in a context, which starts others by functions.
const ADVICE: [(&str, &str); 8] = [
    ("Router::builder().on_prompt(..)", "on_prompt="),
    (".password(..)", "password="),
    (".passphrase(..)", "passphrase="),
    (".identity(..)", "identity="),
    (".python(..)", "python="),
    ("(Ssh::args)", "in args="),
    (".host_keys(HostKeys::AcceptNew)", "-o StrictHostKeyChecking=accept-new in args="),
    (".host_keys(..)", "-o StrictHostKeyChecking=.. in args="),
];

/// Advice in the words of who starts contexts in Python.
fn for_python(text: &str) -> String {
    ADVICE.iter().fold(text.into(), |text: String, (ours, theirs)| text.replace(ours, theirs))
}

/// The modules of the package `econtext` that a child asks for, sorted.
fn modules() -> Result<Vec<String>, Box<dyn Error>> {
    let mut stems = Vec::new();
    for entry in fs::read_dir("bootstrap/econtext")? {
        let name = entry?.file_name();
        match name.to_str().and_then(|name| name.strip_suffix(".py")) {
            // The package itself is made by the core.
            None | Some("core" | "__init__") => {}
            Some(stem) => stems.push(stem.to_owned()),
        }
    }
    stems.sort();
    Ok(stems)
}

fn minified(path: &Path) -> Result<Vec<u8>, Box<dyn Error>> {
    let shown = path.display();
    let source = fs::read(path).map_err(|error| format!("{shown}: {error}"))?;
    // ASCII needs no cookie, in any Python.
    if let Some(at) = source.iter().position(|byte| !byte.is_ascii()) {
        let line = 1 + source[..at].iter().filter(|byte| **byte == b'\n').count();
        return Err(format!("{shown}: line {line}: a byte that is not ASCII").into());
    }
    let small = shorten::shorten(&source).and_then(|source| minify::minify(&source));
    Ok(small.map_err(|error| format!("{shown}: {error}"))?)
}

/// The smallest zlib stream that the compressor's ways of searching give.
fn zlib(data: &[u8]) -> Vec<u8> {
    let strategies = [CompressionStrategy::Default, CompressionStrategy::Filtered];
    let searches = strategies.iter().flat_map(|strategy| {
        (1..=10).map(|level| create_comp_flags_from_zip_params(level, 15, *strategy as i32))
    });
    // The low twelve bits are the number of places it looks at; level 10 leaves it at 1500.
    let searches = searches.flat_map(|flags| [flags, flags | 0xfff]);
    searches.map(|flags| deflate(data, flags)).min_by_key(Vec::len).expect("there are searches")
}

fn deflate(data: &[u8], flags: u32) -> Vec<u8> {
    let mut out = vec![0; data.len() + data.len() / 8 + 1024];
    let mut compressor = CompressorOxide::new(flags);
    let (status, read, written) = compress(&mut compressor, data, &mut out, TDEFLFlush::Finish);
    assert!(status == TDEFLStatus::Done && read == data.len(), "the compressor did not finish");
    out.truncate(written);
    out
}
