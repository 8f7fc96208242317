// Progressive enhancement only: every page works without it.
import { createAll, Button, CharacterCount, Checkboxes, ErrorSummary, Radios } from "./govuk-frontend.js";

document.body.classList.add("js-enabled", "govuk-frontend-supported");
for (const component of [Button, CharacterCount, Checkboxes, ErrorSummary, Radios]) createAll(component);
