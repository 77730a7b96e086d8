export * from "./module/index.js";
