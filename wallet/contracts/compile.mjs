// Compiles the contracts with the pinned solc and prints {name: artifact} as JSON.
// `recompile.py` is the entrance; this file only turns sources into bytes.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import solc from "solc";

const here = dirname(fileURLToPath(import.meta.url));
const names = ["KCash", "Settlement"];

// The keys of `sources` are part of the metadata hash inside the bytecode, so they are the names
// that `import` uses and never a path of the machine.
const sources = {};
const collect = (key, path) => {
  if (key in sources) return;
  const content = readFileSync(path, "utf8").replaceAll("\r\n", "\n");
  sources[key] = { content };
  for (const [, imported] of content.matchAll(/^import\s[^"]*"([^"]+)";/gm)) {
    const name = imported.startsWith(".") ? join(dirname(key), imported) : imported;
    collect(name, join(here, "node_modules", name));
  }
};
for (const name of names) collect(`${name}.sol`, join(here, `${name}.sol`));

const ordered = Object.fromEntries(Object.keys(sources).sort().map((key) => [key, sources[key]]));
const input = JSON.stringify({
  language: "Solidity",
  sources: ordered,
  settings: {
    evmVersion: "cancun",
    // Without it a claim costs 1,300 gas more.
    viaIR: true,
    optimizer: { enabled: true, runs: 10000 },
    outputSelection: Object.fromEntries(
      names.map((name) => [`${name}.sol`, { [name]: ["abi", "evm.bytecode.object", "evm.deployedBytecode"] }]),
    ),
  },
});
const output = JSON.parse(solc.compile(input));
const problems = output.errors ?? [];
if (problems.length > 0) {
  for (const problem of problems) console.error(problem.formattedMessage);
  process.exit(1);
}

const inputHash = createHash("sha256").update(input).digest("hex");
const artifacts = {};
for (const name of names) {
  const { abi, evm } = output.contracts[`${name}.sol`][name];
  artifacts[name] = {
    contractName: name,
    compiler: solc.version(),
    inputHash: `sha256:${inputHash}`,
    abi,
    bytecode: `0x${evm.bytecode.object}`,
    deployedBytecode: `0x${evm.deployedBytecode.object}`,
    // Where the constructor writes its immutables into the code: [start, length] in bytes.
    immutables: Object.values(evm.deployedBytecode.immutableReferences)
      .flat()
      .map(({ start, length }) => [start, length])
      .sort(([a], [b]) => a - b),
  };
}
console.log(JSON.stringify(artifacts));
