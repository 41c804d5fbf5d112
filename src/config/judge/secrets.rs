//! Secrets from where they stand: in the file, in the environment, or in files of their own.

use std::fmt::Display;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret as _, SecretString};

use super::Judge;
use crate::config::file;
use crate::receiver::verify::{Named, SecretName};

/// Bytes of a file that holds one secret.
const FILE_BYTES_MAX: u64 = 4096;

impl Judge<'_> {
    /// Finds, reads and names every key of a list; those that cannot be had are complained of and left out.
    pub(super) fn named_keys<K, E: Display>(
        &mut self,
        path: &str,
        unnamed: &str,
        listed: &[file::Secret],
        read: impl Fn(&str) -> Result<K, E>,
    ) -> Vec<Named<K>> {
        let mut keys = Vec::new();
        for (index, secret) in listed.iter().enumerate() {
            let (given, text) = match secret {
                file::Secret::Plain(text) => (None, Ok(text.clone())),
                file::Secret::Named(secret) => (secret.name.as_deref(), self.text(secret)),
            };
            let given = given.map_or_else(|| format!("{unnamed}{}", index + 1), str::to_owned);
            let name = SecretName::new(&given);
            if name.is_none() {
                self.say(path, "a secret's name is 1 to 32 characters of a-z, 0-9, `.`, `_` and `-`");
            }
            match text.and_then(|text| read(text.expose_secret()).map_err(|error| error.to_string())) {
                Ok(key) => keys.extend(name.map(|name| Named { name, key })),
                Err(what) if listed.len() == 1 => self.say(path, what),
                Err(what) => self.say(&format!("{path}: secret {}", index + 1), what),
            }
        }
        keys
    }

    fn text(&self, secret: &file::NamedSecret) -> Result<SecretString, String> {
        match (&secret.value, &secret.env, &secret.file) {
            (Some(value), None, None) => Ok(value.clone()),
            (None, Some(variable), None) => match self.environment.get(variable).filter(|value| !value.is_empty()) {
                Some(value) => Ok(SecretString::from(value.as_str())),
                None => Err(format!("the variable {variable} is not set")),
            },
            (None, None, Some(file)) => {
                read_file(file).map_err(|error| format!("{} cannot be read: {error}", file.display()))
            }
            _ => Err("a secret has exactly one of `value`, `env` and `file`".to_owned()),
        }
    }
}

fn read_file(path: &Path) -> io::Result<SecretString> {
    let mut text = Zeroizing::new(String::new());
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other(format!("it is longer than {FILE_BYTES_MAX} bytes")));
    }
    let line = text.strip_suffix('\n').unwrap_or(&text);
    Ok(SecretString::from(line.strip_suffix('\r').unwrap_or(line)))
}
