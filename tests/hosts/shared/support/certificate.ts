// Self-signed certificates for tests, made by the command `openssl`.
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";

export interface CertificateFiles {
  readonly certFile: string;
  readonly keyFile: string;
}

/** @param names such as `DNS:localhost,IP:127.0.0.1` */
export function makeCertificate(folder: string, names: string): CertificateFiles {
  const [certFile, keyFile] = [join(folder, "cert.pem"), join(folder, "key.pem")];
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
  const subject = ["-subj", "/CN=localhost", "-addext", `subjectAltName=${names}`];
  execFileSync(
    "openssl",
    ["req", "-x509", ...key, ...subject, "-keyout", keyFile, "-out", certFile],
    { stdio: "ignore" },
  );
  return { certFile, keyFile };
}

/** Replaces a certificate by one that has expired. */
export function expire(folder: string, { certFile, keyFile }: CertificateFiles): void {
  const [config, request] = [join(folder, "ca.cnf"), join(folder, "request.pem")];
  writeFileSync(join(folder, "index"), "");
  writeFileSync(
    config,
    `[ca]\ndefault_ca=it\n[it]\ndatabase=${folder}/index\nnew_certs_dir=${folder}\n` +
      "rand_serial=yes\ndefault_md=sha256\npolicy=any\ncopy_extensions=copyall\n" +
      "[any]\ncommonName=supplied\n",
  );
  const openssl = (...args: string[]) => execFileSync("openssl", args, { stdio: "ignore" });
  openssl("x509", "-x509toreq", "-in", certFile, "-signkey", keyFile, "-out", request);
  const dates = ["-startdate", "20200101000000Z", "-enddate", "20200102000000Z"];
  const files = ["-config", config, "-keyfile", keyFile, "-in", request, "-out", certFile];
  openssl("ca", "-batch", "-selfsign", "-notext", ...dates, ...files);
}
