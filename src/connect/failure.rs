//! What ssh's own words say about a start that failed, or a connection that was lost.
//!
//! Invariant: a pure function of text, total and linear. ssh gives up with its decisive words last, so
//! lines are judged from the last one on. Some last words only say that it is over ("Connection closed by
//! .."): then the lines before may know why. Text of the other side (a banner, a login script) can look
//! like ssh's; it can make an explanation wrong, and no more than that.
//!
//! ssh's own failures have exit status 255, which is also any remote command's to use: what is said here
//! of that status depends on the words, and on how far the start had come.

mod rules;

use crate::{ExitStatus, Stage};
pub(super) use rules::fits;
use rules::{
    CHATTER, ENDINGS, EXCHANGE, KEY_TROUBLE, LOGGED_IN, LOST, MISSING, NOISE, Rule, SHELL, SSH,
};

/// What is known from ssh's words.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Words {
    /// How far it had come.
    pub(crate) stage: Stage,
    /// What is wrong, where, and what to do: one line.
    pub(crate) reason: String,
    /// It was refused for being one too many at this moment.
    pub(crate) retry: bool,
}

/// Says why ssh ended, where its words tell.
///
/// `printed` is what came on stdout before the marker, then what came on stderr (nologin(8) writes to
/// stdout); `reached` is how far the start had come by what we have seen ourselves.
pub(crate) fn explain(printed: &str, status: Option<ExitStatus>, reached: Stage) -> Option<Words> {
    let lines: Vec<&str> = printed.lines().map(str::trim).filter(|line| !is_noise(line)).collect();
    let is_sshs = matches!(status, None | Some(ExitStatus::Unknown | ExitStatus::Code(255)));
    let found = match is_sshs {
        true if reached < Stage::Python => before_login(&lines),
        true => lost(&lines, reached),
        false => None,
    };
    found.or_else(|| shell(&lines, status, reached)).map(Found::words)
}

/// Whether this line of ssh's stderr says that the server has let us in.
pub(crate) fn has_logged_in(line: &str) -> bool {
    LOGGED_IN.iter().any(|pattern| fits(pattern, line))
}

/// Whether a line may be one of those that the next two functions know, which cost more.
pub(crate) fn may_be_sshs(line: &[u8]) -> bool {
    const STARTS: [&[u8]; 7] = [
        b"Authenticated ",
        b"Transferred: ",
        b"Bytes per ",
        b"Learned new ",
        b"Adding new ",
        b"Deprecating ",
        b"Permission denied, ",
    ];
    const REMOVED: &[u8] = b": Removed ";
    STARTS.iter().any(|start| line.starts_with(start))
        || line.len() < 1024 && line.windows(REMOVED.len()).any(|part| part == REMOVED)
}

/// Whether this line of ssh's stderr is its account of an ordinary connection.
pub(crate) fn is_chatter(line: &str) -> bool {
    has_logged_in(line) || CHATTER.iter().any(|pattern| fits(pattern, line))
}

/// Whether this line only says that it is over: once there is a reason, it says nothing more.
pub(crate) fn is_epilogue(line: &str) -> bool {
    let line = line.trim();
    let is_ending = ENDINGS.iter().any(|rule| rule.fits(line)) || is_usage(line);
    is_ending || EXCHANGE.iter().any(|pattern| fits(pattern, line))
}

/// What is not to be judged.
fn is_noise(line: &str) -> bool {
    // What `WarnWeakCrypto` says begins with asterisks.
    let is_chatter = is_chatter(line) || is_usage(line) || line.starts_with("** ");
    line.is_empty() || is_chatter || NOISE.iter().any(|pattern| fits(pattern, line))
}

/// The second and further lines of ssh's usage.
fn is_usage(line: &str) -> bool {
    line.starts_with("[-") && line.ends_with(']')
}

/// What a line means, before it is put together.
struct Found {
    stage: Stage,
    said: String,
    /// What to do, for the host itself.
    advice: String,
    retry: bool,
}

impl Found {
    /// The same of what is on the way to the host.
    fn on_the_way(self) -> Found {
        let said = format!("by way of a jump host or proxy command: {}", self.said);
        Found { stage: Stage::Connect, said, advice: String::new(), ..self }
    }

    fn words(self) -> Words {
        Words { stage: self.stage, reason: self.said + &self.advice, retry: self.retry }
    }
}

impl Rule {
    fn fits(&self, line: &str) -> bool {
        fits(self.pattern, line)
    }

    fn found(&self, line: &str) -> Found {
        let Rule { stage, what, advice, retry, .. } = *self;
        Found { stage, said: format!("{what}: \"{line}\""), advice: advice.into(), retry }
    }
}

/// ssh gave up before the server let us in.
fn before_login(lines: &[&str]) -> Option<Found> {
    let mut ending: Option<Found> = None;
    // What is printed before the server's first words is by what carries them.
    let mut is_carriers = false;
    let mut is_proxied = false;
    for (at, line) in lines.iter().enumerate().rev() {
        let known = denied(line, &lines[..at])
            .or_else(|| host_key(line, &lines[..at]))
            .or_else(|| SSH.iter().find(|rule| rule.fits(line)).map(|rule| rule.found(line)));
        match known {
            Some(found) if !is_carriers || found.retry => return Some(found),
            Some(found) if found.stage > Stage::Spawn => return Some(found.on_the_way()),
            _ => {}
        }
        if let Some(rule) = ENDINGS.iter().find(|rule| rule.fits(line)) {
            // The first of them says most: "Connection closed by .." is the same for all.
            let found = rule.found(line);
            let is_exchange = EXCHANGE.iter().any(|pattern| fits(pattern, line));
            is_proxied |= line.contains(" UNKNOWN port ");
            let is_on_the_way = is_carriers || is_exchange && is_proxied;
            ending = Some(if is_on_the_way { found.on_the_way() } else { found });
            is_carriers |= is_exchange;
        } else if is_carriers {
            let said = format!("it failed: \"{line}\"");
            let found = Found { stage: Stage::Connect, said, advice: String::new(), retry: false };
            return Some(found.on_the_way());
        } else if let Some(mut ending) = ending {
            ending.said += &format!("; before that: \"{line}\"");
            return Some(ending);
        }
    }
    ending
}

/// `[user@host: ]Permission denied (publickey,password).`, and nothing less: login scripts say "Permission
/// denied" too.
fn denied(line: &str, before: &[&str]) -> Option<Found> {
    let (who, rest) = line.split_once("Permission denied (")?;
    let methods = rest.strip_suffix(").")?;
    let is_name = |c: char| c.is_ascii_alphanumeric() || "-@.,".contains(c);
    let is_who = who.is_empty() || (who.ends_with(": ") && !who.trim_end().contains(' '));
    if !is_who || !methods.chars().all(is_name) {
        return None;
    }
    let mut said = format!("the server refused the login: \"{line}\"");
    let key = before.iter().rev().find(|line| KEY_TROUBLE.iter().any(|it| fits(it, line)));
    let has = |method: &str| methods.split(',').any(|it| it == method);
    let mut advice = "";
    if let Some(line) = key {
        said += &format!("; a key could not be used: \"{line}\"");
    } else if has("password") || has("keyboard-interactive") {
        advice = "; it takes a key of the account, with .passphrase(..) where it has one, or .password(..)";
    } else if has("publickey") {
        advice = "; no key that ssh could use opens the account; one with a passphrase needs .passphrase(..)";
    }
    Some(Found { stage: Stage::Login, said, advice: advice.into(), retry: false })
}

/// A key that has changed: with where the other one is.
fn host_key(line: &str, before: &[&str]) -> Option<Found> {
    const CHANGED: &str = "*ost key for * has changed and you have requested strict checking.";
    if !fits(CHANGED, line) {
        return None;
    }
    let mut said = format!("the host key has changed: \"{line}\"");
    let known = before.iter().rev().find_map(|line| {
        let (kind, place) = line.strip_prefix("Offending ")?.split_once(" key in ")?;
        (!kind.contains(' ')).then_some(place)
    });
    if let Some(place) = known {
        said +=
            &format!("; the one that is known is in {place}, to be removed if this was expected");
    }
    Some(Found { stage: Stage::HostKey, said, advice: String::new(), retry: false })
}

/// ssh gave up after the server had let us in: its own words are the last, and the first of them says most.
fn lost(lines: &[&str], reached: Stage) -> Option<Found> {
    let last = &lines[lines.len().saturating_sub(3)..];
    let found =
        last.iter().find_map(|line| Some(LOST.iter().find(|rule| rule.fits(line))?.found(line)))?;
    Some(Found { stage: reached, ..found })
}

/// The login shell, or what sshd ran in its place, ended.
fn shell(lines: &[&str], status: Option<ExitStatus>, reached: Stage) -> Option<Found> {
    let Some(ExitStatus::Code(code)) = status else { return None };
    if reached >= Stage::Core {
        return None;
    }
    for line in lines.iter().rev() {
        if let Some(rule) = SHELL.iter().find(|rule| rule.fits(line)) {
            return Some(rule.found(line));
        }
    }
    if reached < Stage::Python {
        return None;
    }
    // fish draws a picture below its words.
    let missing = |line: &&&str| MISSING.iter().any(|pattern| fits(pattern, line));
    let said = match (code, lines.last()) {
        (_, None) => "the login shell ended without a word; does it run commands at all?".into(),
        (127, Some(last)) => {
            let line = lines.iter().rev().find(missing).unwrap_or(last);
            format!("the login shell does not find what it is to run: \"{line}\"")
        }
        (126, Some(line)) => {
            format!("the login shell may not execute what it is to run: \"{line}\"")
        }
        // What sshd says of a shell whose own interpreter is missing.
        (1, Some(line)) if lines.len() == 1 && fits("/*: No such file or directory", line) => {
            format!("the login shell cannot be started: \"{line}\"")
        }
        _ => return None,
    };
    Some(Found { stage: Stage::Python, said, advice: String::new(), retry: false })
}

#[cfg(test)]
mod tests;
