/** Starts the page. */

import { mount } from 'svelte';

import './app.css';
import App from './App.svelte';
import { guardScripts } from './lib/trusted.ts';

guardScripts();
const target = document.getElementById('app');
if (target !== null) mount(App, { target });
