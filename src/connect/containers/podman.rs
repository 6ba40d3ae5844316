//! A child in a container of Podman's.

use super::engine::engine_method;

engine_method! {
    /// A context in a container of Podman's, one that runs or a new one.
    ///
    /// Its argv is `podman exec --interactive [--user USER] [--workdir DIR] ARGS.. CONTAINER COMMAND..`, or
    /// `podman run --interactive --rm --entrypoint '' [--user USER] [--workdir DIR] ARGS.. IMAGE COMMAND..`.
    /// With `.args(["--rootfs"])` the image is a directory.
    Podman, "podman", podman_path
}

#[cfg(test)]
mod tests {
    use super::super::super::Method;
    use super::super::tests::words;
    use super::*;

    #[test]
    fn the_words() {
        let container = Podman::new("web").global_args(["--remote"]).user("app");
        assert_eq!(container.plan().name, "podman.web");
        assert_eq!(words(container), "podman --remote exec --interactive --user app web python3");
        let image = Podman::image("/srv/root").args(["--rootfs"]).current_dir("/");
        assert_eq!(
            words(image),
            "podman run --interactive --rm --entrypoint  --workdir / --rootfs /srv/root python3"
        );
    }
}
