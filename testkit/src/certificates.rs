//! Certificates made for one test, by the system's `openssl`: an authority, and who it vouches for.

use std::process::Command;

use crate::Folder;
use crate::daemon::output;

/// An authority nobody knows but the test.
#[derive(Debug)]
pub struct Authority {
    folder: Folder,
}

/// PEM files of a certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certified {
    /// The certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
}

impl Authority {
    /// Makes one.
    pub fn new() -> Result<Self, String> {
        let folder = Folder::new("authority")?;
        let authority = Self { folder };
        let Certified { certificate, key } = authority.files("authority");
        authority.openssl(&[
            &["req", "-x509", "-days", "2", "-subj", "/CN=authority", "-out", &certificate],
            &KEY[..],
            &["-keyout", &key],
        ])?;
        Ok(authority)
    }

    /// The PEM file of its certificate.
    pub fn certificate(&self) -> String {
        self.files("authority").certificate
    }

    /// Certifies a program on 127.0.0.1 by this name.
    pub fn certify(&self, name: &str) -> Result<Certified, String> {
        let certified = self.files(name);
        let Certified { certificate, key } = &certified;
        let request = format!("{certificate}.request");
        let subject = format!("/CN={name}");
        let asked = ["req", "-new", "-subj", &subject, "-out", &request, "-keyout", key];
        self.openssl(&[&asked, &KEY])?;
        let names = self.folder.write("names", "subjectAltName=IP:127.0.0.1,DNS:localhost\n")?;
        let own = self.files("authority");
        self.openssl(&[
            &["x509", "-req", "-days", "2", "-in", &request, "-out", certificate],
            &["-CA", &own.certificate, "-CAkey", &own.key, "-CAcreateserial"],
            &["-extfile", &names],
        ])?;
        Ok(certified)
    }

    fn files(&self, name: &str) -> Certified {
        let path = |end| self.folder.path().join(format!("{name}.{end}"));
        let text = |end| path(end).to_string_lossy().into_owned();
        Certified { certificate: text("pem"), key: text("key") }
    }

    fn openssl(&self, arguments: &[&[&str]]) -> Result<(), String> {
        output(Command::new("openssl").args(arguments.concat())).map(drop)
    }
}

/// A new key, quick to make and not locked.
const KEY: [&str; 5] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_certified_is_vouched_for_by_that_authority_alone() {
        let authorities = [(); 2].map(|()| Authority::new().expect("openssl is installed"));
        let certified = authorities[0].certify("server").expect("it can be certified");
        let vouches = |authority: &Authority| {
            let mut verify = Command::new("openssl");
            verify.args(["verify", "-CAfile", &authority.certificate(), &certified.certificate]);
            output(&mut verify).is_ok()
        };
        assert_eq!(authorities.each_ref().map(vouches), [true, false]);
    }
}
