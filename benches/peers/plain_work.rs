//! The plain tools as a contender: what the same work costs without any of the libraries.

use std::io::{self, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::time::Instant;

use crate::work::{Answer, count, random, serve};

/// Answers commands until stdin ends. `python` is the interpreter that is started.
pub fn run(python: &str) -> ExitCode {
    let (mut place, mut levels): (Vec<String>, usize) = (vec![], 1);
    serve(|name, words| match name {
        "start" => {
            if let ["chain", count, first @ ..] = words {
                (place, levels) = (command_line(first), count.parse()?);
                chain(&place, python, levels)
            } else {
                (place, levels) = (command_line(words), 1);
                start(&place, python)
            }
        }
        "two" => two_starts(python),
        "first" => first(python, words),
        "fleet" => fleet(python, count(words, 0)?),
        "calls" => calls(&place, levels, count(words, 0)?),
        "up" => up(&place, count(words, 0)?),
        "down" => down(&place, count(words, 0)?),
        _ => Err(format!("cannot: {name}").into()),
    })
}

/// What a command at that place begins with.
fn command_line(place: &[&str]) -> Vec<String> {
    let mut words: Vec<String> = vec![];
    if let ["ssh", config, port, control @ ..] = place {
        words.extend(["ssh", "-F", config, "-p", port].map(String::from));
        for path in control {
            words.extend(["-o".to_string(), format!("ControlPath={path}")]);
        }
        words.push("127.0.0.1".to_string());
    }
    words
}

/// To the first byte that Python writes: alone for a local one, as it is usually called over ssh.
fn start(place: &[String], python: &str) -> Answer {
    let begin = Instant::now();
    let mut tool = match place {
        [] => Tool::new(&words(&[python, "-S", "-E", "-c", "import os; os.write(1, b'x')"]))?,
        place => Tool::at(place, &format!("{python} -c 'print(1)'"))?,
    };
    tool.read_byte()?;
    let took = begin.elapsed();
    tool.end()?;
    Ok(vec![took.as_secs_f64(), 0.0])
}

/// To the first byte of the last of so many interpreters, each of which starts the next.
fn chain(place: &[String], python: &str, levels: usize) -> Answer {
    const NEXT: &str = "import os, sys; left, code = int(sys.argv[1]), sys.argv[2]; \
        words = [sys.executable, \"-S\", \"-E\", \"-c\", code, str(left - 1), code]; \
        os.spawnv(os.P_WAIT, words[0], words) if left > 1 else os.write(1, b\"x\")";
    let begin = Instant::now();
    let mut tool = Tool::at(place, &format!("exec {python} -S -E -c '{NEXT}' {levels} '{NEXT}'"))?;
    tool.read_byte()?;
    let took = begin.elapsed();
    tool.end()?;
    Ok(vec![took.as_secs_f64(), 0.0])
}

/// A function in an interpreter of its own, which finds its module in the directory and compiles it; only that
/// is counted.
fn first(python: &str, words: &[&str]) -> Answer {
    const FIRST: &str = "import sys, time\n\
        sys.path.insert(0, sys.argv[1])\n\
        module, _, function = sys.argv[2].partition(':')\n\
        begin = time.time()\n\
        getattr(__import__(module), function)()\n\
        print(time.time() - begin)";
    let mut command = Command::new(python);
    let output = command.args(["-B", "-c", FIRST]).args(words).stdin(Stdio::null()).output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    let seconds = said.lines().last().and_then(|line| line.parse().ok());
    Ok(vec![seconds.ok_or_else(|| String::from_utf8_lossy(&output.stderr).into_owned())?])
}

fn two_starts(python: &str) -> Answer {
    let begin = Instant::now();
    for _ in 0..2 {
        pass(python).status()?.success().then_some(()).ok_or("it does not start")?;
    }
    Ok(vec![begin.elapsed().as_secs_f64()])
}

fn fleet(python: &str, count: usize) -> Answer {
    let begin = Instant::now();
    let children = (0..count).map(|_| pass(python).spawn()).collect::<io::Result<Vec<_>>>()?;
    for mut child in children {
        child.wait()?.success().then_some(()).ok_or("it does not start")?;
    }
    Ok(vec![begin.elapsed().as_secs_f64()])
}

/// One byte to `cat` and back; in a chain by one for each level on the way, there and back.
fn calls(place: &[String], levels: usize, count: usize) -> Answer {
    let mut tool = Tool::at(place, &vec!["cat"; 2 * levels - 1].join(" | "))?;
    let mut round_trip = || {
        tool.stdin.write_all(b"x")?;
        tool.read_byte()
    };
    round_trip()?;
    let begin = Instant::now();
    for _ in 0..count {
        round_trip()?;
    }
    let took = begin.elapsed();
    tool.end()?;
    Ok(vec![took.as_secs_f64()])
}

fn up(place: &[String], count: usize) -> Answer {
    let block = random(4 << 20)?;
    let mut tool = Tool::at(place, "echo; cat >/dev/null; echo")?;
    tool.read_byte()?;
    let begin = Instant::now();
    for _ in 0..count {
        tool.stdin.write_all(&block)?;
    }
    drop(tool.stdin);
    tool.stdout.read_exact(&mut [0])?;
    let took = begin.elapsed();
    tool.child.wait()?;
    Ok(vec![took.as_secs_f64()])
}

fn down(place: &[String], count: usize) -> Answer {
    let script = "f=$(mktemp); head -c 4194304 /dev/urandom >$f; echo; read go; cat FILES; rm $f";
    let mut tool = Tool::at(place, &script.replace("FILES", &"$f ".repeat(count)))?;
    tool.read_byte()?;
    let mut block = vec![0; 4 << 20];
    let begin = Instant::now();
    tool.stdin.write_all(b"\n")?;
    for _ in 0..count {
        tool.stdout.read_exact(&mut block)?;
    }
    let took = begin.elapsed();
    tool.end()?;
    Ok(vec![took.as_secs_f64()])
}

/// A process with pipes to its standard input and output.
struct Tool {
    child: Child,
    stdin: ChildStdin,
    stdout: ChildStdout,
}

impl Tool {
    fn new(words: &[String]) -> io::Result<Tool> {
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let (stdin, stdout) = stdin.zip(stdout).ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(Tool { child, stdin, stdout })
    }

    /// A script of a shell, here or at the other end of ssh.
    fn at(place: &[String], script: &str) -> io::Result<Tool> {
        match place {
            [] => Tool::new(&words(&["sh", "-c", script])),
            place => Tool::new(&[place, &[script.to_string()]].concat()),
        }
    }

    fn read_byte(&mut self) -> io::Result<()> {
        self.stdout.read_exact(&mut [0])
    }

    fn end(mut self) -> io::Result<()> {
        drop(self.stdin);
        self.child.wait().map(drop)
    }
}

fn pass(python: &str) -> Command {
    let mut command = Command::new(python);
    command.args(["-c", "pass"]).stdin(Stdio::null());
    command
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| word.to_string()).collect()
}
