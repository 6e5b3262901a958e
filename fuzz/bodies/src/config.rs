//! Configurations: what is accepted is within every range, and can be used.

use strait::Config;

pub(crate) fn body(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    use_it(Config::from_toml(&text));
    let pairs = || text.lines().filter_map(|line| line.split_once('='));
    use_it(Config::default().with_env(pairs()));
    if let Ok(properties) = Config::from_properties(pairs()) {
        use_it(Ok(properties.config));
    }
}

/// Whatever was accepted leads to options, or to an error that says why.
fn use_it(config: Result<Config, strait::config::ConfigError>) {
    match config {
        Err(error) => assert!(!error.to_string().is_empty()),
        Ok(config) => {
            config.check().expect("what was accepted holds");
            let _ = config.memory_required();
            let _ = config.options();
            let _ = config.receiver_options();
            let _ = config.queue_settings();
            let _ = config.stream_config();
            let _ = config.state_config();
            let _ = config.polling();
        }
    }
}
