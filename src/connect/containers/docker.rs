//! A child in a container of Docker's.

use super::engine::engine_method;

engine_method! {
    /// A context in a container of Docker's, one that runs or a new one.
    ///
    /// Its argv is `docker exec --interactive [--user USER] [--workdir DIR] ARGS.. CONTAINER COMMAND..`, or
    /// `docker run --interactive --rm --entrypoint '' [--user USER] [--workdir DIR] ARGS.. IMAGE COMMAND..`.
    ///
    /// ```no_run
    /// # fn main() -> econtext::Result<()> {
    /// # let router = econtext::Router::new()?;
    /// use econtext::Docker;
    /// let db = router.connect(Docker::new("db").user("postgres"))?;
    /// let build = router.connect(Docker::image("python:3-slim").args(["--volume", "/srv/src:/src"]))?;
    /// # Ok(())
    /// # }
    /// ```
    Docker, "docker", docker_path
}

#[cfg(test)]
mod tests {
    use super::super::super::Method;
    use super::super::tests::words;
    use super::*;

    #[test]
    fn the_words_for_a_container() {
        assert_eq!(words(Docker::new("web")), "docker exec --interactive web python3");
        let full = Docker::new("web")
            .docker_path("/opt/docker")
            .global_args(["--host", "ssh://h"])
            .user("app:app")
            .current_dir("/srv")
            .args(["--env", "A=b"]);
        assert_eq!(full.plan().name, "docker.web");
        assert_eq!(
            words(full),
            "/opt/docker --host ssh://h exec --interactive --user app:app --workdir /srv --env A=b \
             web python3"
        );
    }

    #[test]
    fn the_words_for_an_image() {
        let image = Docker::image("python:3").user("1000").args(["--network", "none"]);
        assert_eq!(image.plan().name, "docker.python:3");
        assert_eq!(
            words(image),
            "docker run --interactive --rm --entrypoint  --user 1000 --network none python:3 python3"
        );
    }
}
