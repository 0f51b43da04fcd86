//! The validated `[admin]`.

use std::path::Path;

use mainstay_admin::Token;
use mainstay_settings::{Listen, Problem, ReadError, Settings, read_text, tls};
use mainstay_wire::server::Tls;

/// The most that is read of the token's file.
const LONGEST_TOKEN: u64 = 4096;

/// Where the admin listener stands, and who may change something there.
pub(crate) struct AdminConfig {
    /// `None`: off.
    pub(crate) listen: Option<Listen>,
    /// For a page of metrics alone; `None`: off.
    pub(crate) metrics_listen: Option<Listen>,
    /// What both are served TLS with.
    pub(crate) tls: Option<Tls>,
    /// For changes from elsewhere than this machine.
    pub(crate) token: Option<Token>,
}

/// Validates `[admin]`; reads the token.
pub(crate) fn configure(settings: &Settings, problems: &mut Vec<Problem>) -> Option<AdminConfig> {
    let listen = settings.listen("listen");
    let tls = tls::LISTENER.read_served(settings, problems, Tls::of_files);
    let mut token = None;
    if let Some(path) = settings.path("token_file") {
        match read_token(path) {
            Ok(read) => token = Some(read),
            Err(what) => problems.push(settings.problem("token_file", format!("{}: {what}", path.display()))),
        }
    }
    Some(AdminConfig { listen, metrics_listen: settings.listen("metrics_listen"), tls, token })
}

fn read_token(path: &Path) -> Result<Token, String> {
    match read_text(path, LONGEST_TOKEN) {
        Ok(text) => Token::new(&text).map_err(|weak| weak.to_string()),
        Err(ReadError::Io(why)) => Err(why.to_string()),
        Err(ReadError::TooLong) => Err(format!("longer than {LONGEST_TOKEN} bytes, this is no token")),
        Err(ReadError::NotText) => Err("is not text".to_owned()),
    }
}
