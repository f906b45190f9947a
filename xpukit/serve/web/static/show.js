// What an answer of the planner looks like. Every text is put in as text; the picture is the server's own SVG.

const byId = (id) => document.getElementById(id);
const UNITS = [["TiB", 2 ** 40], ["GiB", 2 ** 30], ["MiB", 2 ** 20], ["KiB", 2 ** 10]];

export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== undefined && value !== null) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

export function formatBytes(count) {
  for (const [name, size] of UNITS) if (Math.abs(count) >= size) return `${(count / size).toFixed(1)} ${name}`;
  return `${count} B`;
}

const number = (value) => value.toLocaleString("en-US");

export function showAnswer(answer) {
  const { plan, error } = answer;
  byId("line").textContent = answer.line;
  showVerdict(plan, error);
  showError(error ?? answer.form_error);
  for (const id of ["memory", "placed"]) byId(id).hidden = !plan;
  byId("launch").hidden = !answer.files.length;
  showFiles(answer.files);
  if (plan) {
    showMemory(plan);
    showPicture(plan.picture);
  }
  showReasons(plan);
}

function showVerdict(plan, error) {
  const verdict = byId("verdict");
  const refused = plan ? plan.problems.filter((one) => one.severity === "error").length : 0;
  verdict.className = error || !plan.fit.fits || refused ? "bad" : "good";
  if (error) verdict.textContent = error.message;
  else if (refused) verdict.textContent = `the engine would refuse this: ${plan.problems.find((one) => one.severity === "error").message}`;
  else verdict.textContent = plan.fit.headline;
}

function showError(error) {
  const box = byId("error");
  box.hidden = !error;
  box.replaceChildren();
  if (!error) return;
  box.append(make("p", {}, error.message));
  if (error.hint) box.append(make("p", { class: "hint" }, `Next: ${error.hint}`));
}

function showMemory(plan) {
  const { fit } = plan;
  const bar = byId("bar");
  bar.replaceChildren();
  const legend = byId("legend");
  legend.replaceChildren();
  fit.segments.forEach((one, index) => {
    const style = one.name === "not taken" ? "seg-rest" : `seg-${index % 7}`;
    const part = make("span", { class: style, title: `${one.name}: ${formatBytes(one.bytes)}; ${one.why}` });
    part.style.flexGrow = one.bytes / fit.scale_bytes;
    bar.append(part);
    legend.append(make("li", { title: one.why }, make("i", { class: style }), `${one.name} ${formatBytes(one.bytes)}`));
  });
  if (fit.scale_bytes > fit.total_bytes) {
    const end = make("span", { class: "end", title: `the GPU's memory ends here: ${formatBytes(fit.total_bytes)}` });
    end.style.left = `${(100 * fit.total_bytes) / fit.scale_bytes}%`;
    bar.append(end);
  }
  bar.setAttribute("aria-label", `${fit.headline}. ${fit.segments.map((one) => `${one.name} ${formatBytes(one.bytes)}`).join(", ")}`);
  const figures = [["memory", formatBytes(fit.total_bytes)], ["taken by the engine", formatBytes(fit.budget_bytes)]];
  if (fit.fits) {
    figures.push(["longest request", `${number(fit.max_context)} tokens`]);
    figures.push([`requests of ${number(fit.asked_context)} tokens`, `${fit.concurrency.toFixed(2)} at a time`]);
    figures.push(["margin beside one", formatBytes(fit.margin_bytes)]);
  } else if (fit.short_bytes) figures.push(["short by", `${formatBytes(fit.short_bytes)} a GPU`]);
  figures.push(["weights", plan.quantization], ["division", plan.parallelism]);
  const speed = plan.prediction;
  if (speed) {
    figures.push(["decode, predicted", `${speed.decode_tps_per_sequence.toFixed(1)} tokens/s a request`]);
    figures.push(["first token, predicted", `${Math.round(speed.ttft_s * 1000)} ms after ${number(speed.prompt_tokens)} tokens`]);
  }
  byId("figures").replaceChildren(...figures.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))));
}

function showPicture(svg) {
  const parsed = new DOMParser().parseFromString(svg, "image/svg+xml");
  byId("picture").replaceChildren(document.importNode(parsed.documentElement, true));
}

function showFiles(files) {
  const parts = files.map((file, index) => make("div", {},
    make("div", { class: "title" }, make("code", {}, file.name), make("button", { type: "button", class: "copy", "data-copies": `file-${index}`, "aria-label": `Copy ${file.name}` }, "Copy")),
    make("pre", { id: `file-${index}`, tabindex: "0" }, file.text)));
  byId("files").replaceChildren(...parts);
}

function reason(words, why, source, style = "") {
  const item = make("li", { class: style || undefined });
  if (words) item.append(make("code", {}, words), " ");
  item.append(why);
  if (source) item.append(" ", make("small", {}, `(${source})`));
  return item;
}

function showReasons(plan) {
  const problems = plan ? [
    ...plan.fit.ways_out.map((text) => reason("", `would help: ${text}`, "")),
    ...plan.problems.map((one) => reason("", `${one.severity}: ${one.message}`, "", one.severity === "error" ? "bad" : "")),
    ...plan.notes.map((text) => reason("", text, "")),
  ] : [];
  byId("problems").replaceChildren(...problems);
  byId("problems-part").hidden = !problems.length;
  for (const part of document.querySelectorAll("#result > details")) part.hidden = !plan;
  if (!plan) return;
  const choices = plan.choices.map((one) => reason([one.name, one.value].filter(Boolean).join(": "), one.why, one.source || one.kind));
  const speed = plan.prediction;
  if (speed) choices.push(reason("speed", `decode bound by ${speed.decode_bound}, prefill by ${speed.prefill_bound}; ${speed.note}`, speed.source));
  choices.push(reason("loading", plan.load, ""));
  byId("choices-made").replaceChildren(...choices);
  const several = new Set(plan.words.map((one) => one.launch)).size > 1;
  byId("words").replaceChildren(...plan.words.map((one) => reason(one.words, several ? `${one.launch}: ${one.why}` : one.why, one.source)));
  byId("not-taken").replaceChildren(
    ...plan.rejected.map((one) => reason(one.parallelism, `${one.fits === false ? "does not fit" : "fits"}: ${one.why}`, "")),
    ...plan.guesses.map((one) => reason(`guess: ${one.what}`, `${one.value}: ${one.why}`, "")),
    ...plan.assumptions.map((text) => reason("", text, "")),
  );
}
