import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, statSync } from "node:fs";
import { dirname } from "node:path";

/** Compiles a program of one file, unless it is up to date. */
export function compile(source: string, program: string): void {
  if (existsSync(program) && statSync(program).mtimeMs > statSync(source).mtimeMs) return;
  mkdirSync(dirname(program), { recursive: true });
  const flags = ["-std=c++20", "-O2", "-Wall", "-Wextra"];
  execFileSync("g++", [...flags, "-o", program, source], { stdio: "inherit" });
}
