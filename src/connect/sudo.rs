//! A child of another user, through sudo.

use std::ffi::OsString;

use super::options::{Options, common_options, tool_options};
use super::prompt::PasswordQuestion;
use super::refusal::SUDO_TAKES;
use super::{Answers, Asks, Method, Plan, Tool, Way, check_user};
use crate::secret::Secret;
use crate::sys;

/// A context that sudo runs: of another user, of the same machine as its parent's. For sudo 1.8 and later, and
/// sudo-rs.
///
/// sudo is run with `-n` first, where it asks nothing and needs no terminal. Where it wants a password, or a
/// terminal (`requiretty`), it is run again with a terminal of its own, beside the stream; the question is known
/// by a word that is made for it, so that it can be asked in any language.
///
/// Its argv is `sudo -u USER [-g GROUP] [-r ROLE] [-t TYPE] [-E] [-H] [-i] ARGS.. -n -- COMMAND..`, then the same
/// with `-p PROMPT` in place of `-n`. The environment of the child is as sudo makes it.
#[derive(Clone, Debug)]
pub struct Sudo {
    user: OsString,
    group: Option<OsString>,
    password: Option<Secret>,
    preserve_env: bool,
    set_home: bool,
    login: bool,
    selinux_role: Option<OsString>,
    selinux_type: Option<OsString>,
    options: Options,
}

common_options!(Sudo);
tool_options!(Sudo, "sudo", sudo_path);

impl Default for Sudo {
    fn default() -> Self {
        Sudo::new()
    }
}

impl Sudo {
    /// A context of root's, named `sudo.root`; with [`user`](Sudo::user), `sudo.<user>`.
    pub fn new() -> Sudo {
        Sudo {
            user: "root".into(),
            group: None,
            password: None,
            preserve_env: false,
            set_home: false,
            login: false,
            selinux_role: None,
            selinux_type: None,
            options: Options::default(),
        }
    }

    /// Whose context it is to be: `-u`, a name or `#` and a number. Default: `root`.
    pub fn user(mut self, user: impl Into<OsString>) -> Self {
        self.user = user.into();
        self
    }

    /// The primary group: `-g`, a name or `#` and a number. Default: that of the user.
    pub fn group(mut self, group: impl Into<OsString>) -> Self {
        self.group = Some(group.into());
        self
    }

    /// The password that sudo asks for: as a rule that of the user who runs it. It is written to sudo's own
    /// terminal, once, and its memory is overwritten when the last copy of this method and of the start is
    /// dropped. Without one, [`on_prompt`](crate::RouterBuilder::on_prompt) is asked.
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.password = Some(Secret::from(password.into()));
        self
    }

    /// Whether the environment is kept, as far as sudo allows: `-E`. Default: no.
    pub fn preserve_env(mut self, yes: bool) -> Self {
        self.preserve_env = yes;
        self
    }

    /// Whether `HOME` is that of the user: `-H`. Default: no, then it is as sudo's settings say.
    pub fn set_home(mut self, yes: bool) -> Self {
        self.set_home = yes;
        self
    }

    /// Whether the user's login shell runs the command, with the user's environment and in the home directory:
    /// `-i`. Default: no.
    pub fn login(mut self, yes: bool) -> Self {
        self.login = yes;
        self
    }

    /// The SELinux role: `-r`.
    pub fn selinux_role(mut self, role: impl Into<OsString>) -> Self {
        self.selinux_role = Some(role.into());
        self
    }

    /// The SELinux type: `-t`.
    pub fn selinux_type(mut self, r#type: impl Into<OsString>) -> Self {
        self.selinux_type = Some(r#type.into());
        self
    }

    fn tool(&self, token: &str) -> Tool {
        let mut words = vec![self.options.program("sudo"), "-u".into(), self.user.clone()];
        let mut pair = |flag: &str, value: &Option<OsString>| {
            words.extend(value.iter().flat_map(|value| [flag.into(), value.clone()]));
        };
        pair("-g", &self.group);
        pair("-r", &self.selinux_role);
        pair("-t", &self.selinux_type);
        for (flag, is_set) in [("-E", self.preserve_env), ("-H", self.set_home), ("-i", self.login)]
        {
            words.extend(is_set.then(|| flag.into()));
        }
        words.extend(self.options.args.iter().cloned());
        let way = |last: &[&str]| {
            let last = last.iter().map(OsString::from);
            let way = Way::new(words.iter().cloned().chain(last));
            if self.login { way.through_sudos_shell() } else { way }
        };
        let silent = way(&["-n", "--"]);
        Tool::with_ways([
            silent.clone(),
            way(&["-p", &format!("{token}: "), "--"]).asking(Asks::Terminal).if_answered(),
            silent.asking(Asks::Terminal).if_unanswered(),
        ])
    }
}

/// A word that nobody else prints.
fn token() -> Result<String, String> {
    let mut random = [0; 8];
    sys::entropy(&mut random).map_err(|error| format!("making sudo's prompt: {error}"))?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}

impl Method for Sudo {
    fn plan(&self) -> Plan {
        let name = || format!("sudo.{}", self.user.to_string_lossy());
        let token = token();
        let tool = token.as_ref().map(|token| self.tool(token)).map_err(String::clone);
        let tool = check_user(&self.user).and(tool);
        let question = token.map_or(PasswordQuestion::Words, PasswordQuestion::Token);
        let answers = Answers::for_tool(self.password.clone(), question, SUDO_TAKES);
        Plan { answers, ..self.options.plan(name, tool) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argv(sudo: &Sudo, way: usize) -> Vec<String> {
        let command: Vec<OsString> = vec!["/bin/sh".into(), "$p's".replace('\'', "").into()];
        let argv = sudo.plan().argv(way, &command).unwrap();
        argv.into_iter().map(|word| word.into_string().unwrap()).collect()
    }

    #[test]
    fn sudo_asks_nothing_first_and_then_on_a_terminal_with_a_word_that_is_always_another() {
        let sudo = Sudo::new().password("x");
        assert_eq!(argv(&sudo, 0), ["sudo", "-u", "root", "-n", "--", "/bin/sh", "$ps"]);
        let [one, two] = [argv(&sudo, 1), argv(&sudo, 1)];
        assert_eq!((&one[..4], &one[5..]), (&two[..4], &two[5..]));
        assert_eq!(one[..4], ["sudo", "-u", "root", "-p"]);
        assert_eq!(one[5..], ["--", "/bin/sh", "$ps"]);
        assert!(one[4] != two[4] && one[4].len() == 18 && one[4].ends_with(": "), "{one:?}");
        let asks = |sudo: &Sudo| [0, 1].map(|way| sudo.plan().asks(way));
        assert_eq!(asks(&sudo), [Asks::Nowhere, Asks::Terminal]);
        // With nobody to ask, for those who want a terminal and no password.
        assert_eq!(asks(&Sudo::new()), [Asks::Nowhere, Asks::Terminal]);
        assert_eq!(argv(&Sudo::new(), 1)[3], "-n");
    }

    #[test]
    fn every_option_is_one_of_sudos() {
        let sudo = Sudo::new().user("deploy").group("www").preserve_env(true).set_home(true);
        let sudo = sudo.selinux_role("r").selinux_type("t").args(["-h", "web1"]).sudo_path("/s");
        let expected = "/s -u deploy -g www -r r -t t -E -H -h web1 -n -- /bin/sh $ps".split(' ');
        assert_eq!(argv(&sudo, 0), expected.collect::<Vec<_>>());
        assert_eq!(sudo.plan().name, "sudo.deploy");
    }

    #[test]
    fn a_login_shell_gets_a_command_without_what_sudo_leaves_to_it() {
        let words = argv(&Sudo::new().login(true), 0);
        assert_eq!(words[3..8], ["-i", "-n", "--", "/bin/sh", "-c"]);
        let line = "exec /bin/sh \\0047\\0044ps\\0047";
        assert_eq!(words[8..], [format!("eval \"`printf %b '{line}'`\"")]);
    }
}
