// The todo list: one query that runs again after each change, whoever made it.
import { type Todo, todoTextMax } from "../covenant.js";
import { client, isLate, markMissed } from "./connection.js";
import { element, make, onSubmit } from "./dom.js";

const RETRY_MS = 2000;

const todoText = element<HTMLInputElement>("#todo-text");
const todoError = element("#todo-error");
const todoList = element("#todos");
todoText.maxLength = todoTextMax;

/** Shown until the list arrives; the reason why a change failed stays. */
let fetchError = "";

type TodosResult = Awaited<ReturnType<typeof fetchTodos>>;
const fetchTodos = () => client.query("getTodos", null);

listen();

function listen(): void {
  let isListening = false;
  const show = (result: TodosResult): void => {
    // CovenantClient does not listen if the first answer is an error, nor does it ask again after a
    // later one.
    if (!result.success) setTimeout(isListening ? fetchAgain : listen, RETRY_MS);
    isListening ||= result.success;
    showTodos(result);
  };
  const fetchAgain = () => void fetchTodos().then(show);
  client.listen("getTodos", null, show, true);
}

function showTodos(result: TodosResult): void {
  if (!result.success) {
    fetchError = todoError.textContent = result.error.message;
    return;
  }
  if (todoError.textContent === fetchError) todoError.textContent = "";
  // Existing rows stay in place, so that keyboard focus survives changes by others; new todos are
  // always appended.
  const rows = new Map(
    [...todoList.children].map((row) => [(row as HTMLElement).dataset["id"], row]),
  );
  for (const todo of result.data) {
    const known = rows.get(todo.id);
    const row = known ?? todoList.appendChild(makeRow(todo));
    rows.delete(todo.id);
    const isChanged = updateRow(row, todo);
    if ((isChanged || !known) && isLate(todo.changedAt)) markMissed("todo", row);
  }
  for (const gone of rows.values()) gone.remove();
  element("#todos-empty").hidden = result.data.length > 0;
}

function makeRow({ id, text }: Todo): Element {
  const row = make("li");
  row.dataset["id"] = id;
  const box = make("input");
  box.type = "checkbox";
  box.addEventListener(
    "change",
    () => void change(client.mutate("toggleTodo", { id, done: box.checked })),
  );
  const label = make("label");
  label.append(box, make("span", text));
  const remove = make("button", "Delete");
  remove.setAttribute("aria-label", `Delete ${text}`);
  remove.addEventListener("click", () => void change(client.mutate("deleteTodo", { id })));
  row.append(label, remove);
  return row;
}

/** Returns whether the row showed something else. */
function updateRow(row: Element, { done }: Todo): boolean {
  const text = row.querySelector("span")!;
  const isChanged = text.classList.contains("done") !== done;
  row.querySelector("input")!.checked = done;
  text.classList.toggle("done", done);
  return isChanged;
}

/**
 * Returns true if the change was made; otherwise the page shows the reason and the server's list.
 */
async function change(
  mutation: Promise<{ success: boolean; error: { message: string } | null }>,
): Promise<boolean> {
  const result = await mutation;
  todoError.textContent = result.error?.message ?? "";
  if (!result.success) void fetchTodos().then(showTodos);
  return result.success;
}

onSubmit("#todo-form", async () => {
  const text = todoText.value.trim();
  if (!text) return;
  todoText.value = ""; // at once: text typed meanwhile belongs to the next todo
  if (!(await change(client.mutate("addTodo", { text }))))
    todoText.value = `${text} ${todoText.value}`.trim();
});
